"""Figures are PNG files that the report reads back."""

import base64
from pathlib import Path

from matplotlib.figure import Figure

from hyperct_pipeline.datasets import FigureFile

PNG = b"\x89PNG\r\n"


def test_one_figure_is_one_file(tmp_path: Path) -> None:
    dataset = FigureFile(str(tmp_path / "a.png"))
    dataset.save(Figure())
    content = dataset.load()
    assert isinstance(content, bytes)
    assert content.startswith(PNG)


def test_several_figures_replace_those_of_an_earlier_run(tmp_path: Path) -> None:
    dataset = FigureFile(str(tmp_path / "many"))
    dataset.save({"old": Figure(), "both": Figure()})
    dataset.save({"both": Figure(), "new": Figure()})
    content = dataset.load()
    assert isinstance(content, dict)
    assert sorted(content) == ["both", "new"]


def test_the_same_figure_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        FigureFile(str(tmp_path / f"{name}.png")).save(Figure())
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_accumulated_figures_stay(tmp_path: Path) -> None:
    dataset = FigureFile(str(tmp_path / "many"), accumulate=True)
    dataset.save({"first": Figure()})
    dataset.save({"second": Figure()})
    assert sorted(dataset.load()) == ["first", "second"]
    dataset.save({})  # how a node that yields figures begins
    assert dataset.load() == {}


def test_with_svg_the_drawing_is_read_and_the_picture_previewed(tmp_path: Path) -> None:
    figure = Figure()
    figure.text(0.5, 0.5, "label <&>")
    for name in ("a", "b"):
        dataset = FigureFile(str(tmp_path / name / "same.png"), svg=True)
        dataset.save(figure)
    content = dataset.load()
    assert isinstance(content, bytes)
    assert b"<svg" in content and b"label &lt;&amp;&gt;" in content  # text stays text
    assert (tmp_path / "a/same.svg").read_bytes() == (tmp_path / "b/same.svg").read_bytes()
    assert base64.b64decode(dataset.preview()).startswith(PNG)
    several = FigureFile(str(tmp_path / "many"), svg=True)
    several.save({"x": figure})
    assert b"<svg" in several.load()["x"]
    (tmp_path / "a/same.svg").unlink()
    assert FigureFile(str(tmp_path / "a/same.png"), svg=True).load().startswith(PNG)  # of an earlier version
