"""The page says what the tables say, and runs nothing that a table holds."""

from pathlib import Path

import pandas as pd
import yaml
from pydantic import TypeAdapter

from hyperct_pipeline.labels.harmonization_page import Evidence, harmonization_page
from hyperct_pipeline.labels.tasks import TaskCatalogueConfig

CONF = Path(__file__).parents[2] / "conf" / "base"


def page(text: str = "see comment") -> str:
    written = yaml.safe_load((CONF / "parameters_tasks.yml").read_text(encoding="utf-8"))["task_catalogue"]
    report = [
        ("source", "s.rows", "", "in", 5), ("task", "emphysema", "", "1", 2), ("task", "emphysema", "", "0", 3),
        ("split", "emphysema", "train", "positive", 2), ("eligibility", "eligible", "", "studies", 5),
        ("few_positives", "emphysema", "train", "fewer than 10", 2),
    ]  # fmt: skip
    word = {"source": "s", "item": "rv_function", "text": text, "count": 7, "patients": 6, "readable": True}
    evidence = Evidence(
        pd.DataFrame(report, columns=["section", "item", "split", "reason", "count"]),
        pd.DataFrame({"eligible": [True, False]}),
        pd.DataFrame({"cohort": ["a"], "found": [2]}),
        pd.DataFrame({"source": "s", "item": "lvef", "within_days": [30, 90], "studies_with_value": [11, 12]}),
        pd.DataFrame({"task": ["a", "b"], "studies": [5, 5], "same": [5, 3], "zero_to_one": [0, 2]}),
        pd.DataFrame([word]),
        pd.DataFrame({"task": ["emphysema"], "source": "s", "reason": "source_conflict", "study_key": "k"}),
        pd.DataFrame({"source": ["s"], "quantity": "lvidd", "likely_unit": "mm", "count": 9}),
    )
    names = ("prevalence", "missingness", "co_occurrence", "echo_gap")
    return harmonization_page(
        evidence, dict.fromkeys(names, b"png"), TypeAdapter(TaskCatalogueConfig).validate_python(written)
    )


def test_every_part_is_there() -> None:
    html = page()
    for part in (
        "2 studies, 1 of them eligible", "women: lvidd &gt; 5.3 cm; men: lvidd &gt; 5.9 cm", "see comment",
        "&#34;see comment&#34;: null  # 7 times", "source_conflict", "fewer than 10", ">12<", "likely unit",
    ):  # fmt: skip
        assert part in html, part
    # a task that no other set changes is not listed
    assert '<th scope="row">b</th>' in html
    assert '<th scope="row">a</th><td>5</td>' not in html
    assert html.count("data:image/png;base64,cG5n") == 4


def test_text_of_a_table_is_no_markup() -> None:
    html = page("<script>alert(1)</script>")
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
