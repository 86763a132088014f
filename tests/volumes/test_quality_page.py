import base64
from html.parser import HTMLParser

import pandas as pd
import pytest

from hyperct_pipeline.volumes.quality import Limits, QualityConfig
from hyperct_pipeline.volumes.quality_montage import quality_montage
from hyperct_pipeline.volumes.quality_page import line_of, quality_pages
from hyperct_pipeline.volumes.quality_report import examine_all, quality_table, studies_due

CONFIG = QualityConfig(
    limits={"slice_count": Limits(warn_below=60, reject_below=50), "lossy": Limits(warn_above=0)},
    montage_studies=2,
    page_studies=2,
)


class Page(HTMLParser):
    """What a reader meets, in order: studies with their class, sources of pictures, links, text."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.studies: list[tuple[str, str]] = []
        self.sources: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(content.decode())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attributes}
        self.tags.append(tag)
        if tag == "article":
            self.studies.append((found["id"], found["class"]))
        if tag == "img":
            assert found["loading"] == "lazy"
            self.sources.append(found["src"])
        if tag == "a":
            self.links.append(found["href"])

    def handle_data(self, data: str) -> None:
        self.text += f" {data}"


@pytest.fixture
def judged(patient, files, manifest_of) -> tuple[pd.DataFrame, dict[str, bytes]]:
    """Five studies: accepted, lossy, missing, accepted, accepted."""
    volumes = dict.fromkeys("abcde", patient)
    manifest = manifest_of(**volumes)
    manifest.loc[manifest["study_key"] == "b", ["warnings", "scanner"]] = ["LOSSY", "<b>Best & Co</b>"]
    found = files(**volumes)
    found["c"].path.unlink()
    examined = list(examine_all(studies_due(manifest, found, {}, ())))
    pictures = {row["study_key"]: picture for row, picture in examined if picture}
    return quality_table(manifest, {row["study_key"]: row for row, _ in examined}, CONFIG), pictures


def pages_of(judged: tuple[pd.DataFrame, dict[str, bytes]]) -> dict[str, Page]:
    table, pictures = judged
    lazy = {key: lambda content=content: content for key, content in pictures.items()}
    return {name: Page(make()) for name, make in quality_pages(table, lazy, CONFIG).items()}


def test_problems_first_and_split_into_pages(judged) -> None:
    pages = pages_of(judged)
    assert list(pages) == ["index", "page_2", "page_3"]
    assert [study for page in pages.values() for study in page.studies] == [
        ("c", "reject"), ("b", "warn"), ("a", "accept"), ("d", "accept"), ("e", "accept"),
    ]  # fmt: skip
    assert pages["index"].links == ["index.html", "index.html", "page_2.html", "page_2.html", "page_3.html"]


def test_pictures_are_embedded_and_nothing_else_is_loaded(judged) -> None:
    _, pictures = judged
    pages = pages_of(judged)
    sources = [source for page in pages.values() for source in page.sources]
    expected = [f"data:image/png;base64,{base64.b64encode(pictures[key]).decode()}" for key in "bade"]
    assert sources == expected
    for page in pages.values():
        assert not {"script", "link", "iframe"} & set(page.tags)
        assert all(link.endswith(".html") and ":" not in link for link in page.links)


def test_pages_load_only_the_pictures_they_show(judged) -> None:
    table, pictures = judged
    loaded: list[str] = []
    lazy = {key: lambda key=key: loaded.append(key) or pictures[key] for key in pictures}
    pages = quality_pages(table, lazy, CONFIG)
    assert loaded == []
    pages["page_2"]()
    assert loaded == ["a", "d"]
    quality_montage(table, lazy, CONFIG)
    assert loaded == ["a", "d", "b", "a"]  # the worst two of those that could be read


@pytest.mark.parametrize("content", [b"", b"nothing", "cut"])
def test_a_damaged_picture_costs_its_place_on_the_montage_only(judged, content: bytes | str) -> None:
    table, pictures = judged
    pictures = pictures | {"b": pictures["b"][:200] if content == "cut" else content}
    first, second = quality_montage(table, {key: lambda p=p: p for key, p in pictures.items()}, CONFIG).axes
    assert "damaged picture" in first.texts[0].get_text() and len(second.images) == 1


def test_index_counts_verdicts_scanners_and_reasons(judged) -> None:
    text = " ".join(pages_of(judged)["index"].text.split())
    assert "5 studies, problems first. Page 1 of 3." in text
    assert "reject: 1 · warn: 1 · accept: 3" in text
    assert "ACME CT1 1 0 3" in text and "<b>Best & Co</b> 0 1 0" in text
    assert "HIGH_LOSSY 1" in text and "NIFTI_MISSING 1" in text
    assert "NIFTI_MISSING. The manifest names a NIfTI that is not there; run `kedro run --pipelines=convert`" in text


def test_texts_from_tables_are_escaped(judged) -> None:
    table, pictures = judged
    lazy = {key: lambda content=content: content for key, content in pictures.items()}
    content = quality_pages(table, lazy, CONFIG)["index"]().decode()
    assert "<b>Best" not in content and "&lt;b&gt;Best &amp; Co&lt;/b&gt;" in content


@pytest.mark.parametrize(
    ("value", "shown", "verdict"),
    [(4.99, "4.99", "reject"), (5, "5", "warn"), (10, "10", "accept"), (None, "not defined", "warn")],
)
def test_numbers_stand_beside_their_limits(value: float | None, shown: str, verdict: str) -> None:
    line = line_of("slice_count", value, Limits(reject_below=5, warn_below=10, warn_above=1500.5))
    assert (line.check, line.value, line.verdict) == ("slice count", shown, verdict)
    assert line.limits == "warn < 10, warn > 1500.5, reject < 5"


def test_an_empty_archive_has_one_page(manifest_of) -> None:
    table = quality_table(manifest_of(), {}, CONFIG)
    pages = pages_of((table, {}))
    assert list(pages) == ["index"] and pages["index"].studies == []
    assert quality_montage(table, {}, CONFIG).axes == []


def test_montage_shows_the_worst_that_can_be_read(judged) -> None:
    table, pictures = judged
    figure = quality_montage(table, {key: lambda content=content: content for key, content in pictures.items()}, CONFIG)
    assert [axes.get_title().split() for axes in figure.axes] == [["b", "warn", "HIGH_LOSSY"], ["a", "accept"]]
    assert figure.get_suptitle() == "2 of 5 studies, problems first"
