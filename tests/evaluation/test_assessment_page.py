"""The page of an assessment: the numbers of a table, and nothing of a model of ours."""

import re
from dataclasses import replace
from typing import Any

import pytest

from hyperct_pipeline.errors import PackageError
from hyperct_pipeline.evaluation.assess_settings import ALL
from hyperct_pipeline.evaluation.assessment import MACRO
from hyperct_pipeline.evaluation.assessment_page import SECTIONS, render_assessment
from hyperct_pipeline.evaluation.report import SECTIONS as REPORT_SECTIONS
from hyperct_pipeline.evaluation.report_evidence import Assessment
from hyperct_pipeline.evaluation.report_references import OF_ASSESSMENT
from hyperct_pipeline.evaluation.run_facts import RunFacts

NAMES = {
    "nodule": "Lung nodule",
    "effusion": "Pleural effusion",
    "low_lvef": "LVEF below 50 %",
    "dilated": "Dilated <ventricle> & more",
}
FACTS = RunFacts("2026-01-02 03:04 UTC", "0.1.0", "abc1234", "numpy 2.1")


@pytest.fixture
def foreign(assessment: Assessment) -> Assessment:
    """As if another system's table without a model's id and without splits were assessed."""
    settings = dict(assessment.facts["settings"]) | {"model": "theirs <i>"}
    facts = dict(assessment.facts) | {"model_id": None, "split": None, "settings": settings}
    metrics = assessment.metrics_full.replace({"model": {"hyperct": "theirs <i>"}})
    return replace(assessment, facts=facts, metrics_full=metrics, calibration=None)


def _headings(html: str) -> list[str]:
    return re.findall(r'<h2 id="(\w+)">', html)


def test_its_sections_are_those_of_an_assessment(foreign: Assessment) -> None:
    html = render_assessment(foreign, NAMES, FACTS)
    assert _headings(html) == list(SECTIONS)
    assert set(SECTIONS) < set(REPORT_SECTIONS)
    assert [text for text in REPORT_SECTIONS if text in SECTIONS] == list(SECTIONS)


def test_it_claims_nothing_of_training_images_or_the_synthetic_archive(foreign: Assessment, read_page: Any) -> None:
    text = " ".join(read_page(render_assessment(foreign, NAMES, FACTS)).text.split()).lower()
    for word in ("hyperct ", "training", "epoch", "backbone", "adapter", "saliency", "slices", "hounsfield", "dicom"):
        assert word not in text, word
    for word in ("phantom", "synthetic", "echocardiogram", "dinov3", "checklist"):
        assert word not in text, word


def test_numbers_stand_in_their_rows(foreign: Assessment, read_page: Any) -> None:
    page = read_page(render_assessment(foreign, NAMES, FACTS))
    full = foreign.metrics_full
    rows = full[(full["cohort"] == ALL) & (full["subgroup"] == ALL) & (full["model"] == "theirs <i>")]
    cells = {(row["task"], row["metric"]): row for row in rows.to_dict("records")}

    def shown(row: dict[str, float]) -> str:
        return f"{row['value']:.2f} ({row['ci_low']:.2f} to {row['ci_high']:.2f})"

    area = cells["nodule", "auc"]
    of_task = page.row("Discrimination, whole table, all cohorts; 95 % intervals", NAMES["nodule"])
    assert of_task["AUROC"] == shown(area)
    assert (of_task["Positive"], of_task["Negative"]) == (str(int(area["n_pos"])), str(int(area["n_neg"])))
    calibration = page.row(
        "Calibration, risk as the model gives it, whole table, all cohorts; 95 % intervals", "Lung nodule"
    )
    assert calibration["Brier"] == shown(cells["nodule", "brier"])
    mean = page.row("Means by task group", "all cohorts", "all")
    assert mean["Mean AUROC (95 % interval)"] == shown(cells[MACRO["all"], "auc"])


def test_it_is_offline_escaped_and_cites_what_it_lists(foreign: Assessment, read_page: Any) -> None:
    html = render_assessment(foreign, NAMES, FACTS)
    page = read_page(html)
    for tag, attributes in page.found:
        for key in ("src", "href", "srcset", "data", "action"):
            value = attributes.get(key)
            allowed = ("data:image/png;base64,", "data:text/csv;charset=utf-8;base64,", "#")
            assert value is None or value.startswith(allowed), (tag, value)
    assert not page.of("script") and not page.of("link") and "default-src 'none'" in html
    assert "<title>Assessment of theirs &lt;i&gt;</title>" in html and "theirs <i>" not in html
    assert "Dilated &lt;ventricle&gt; &amp; more" in html
    ids = [attributes["id"] for _, attributes in page.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {str(a["href"])[1:] for a in page.of("a") if "download" not in a} <= set(ids)
    cited = {int(number) for number in re.findall(r"\[(\d+)\]", page.text)}
    platt = 1 + list(OF_ASSESSMENT).index("platt")  # nothing was fitted here
    assert cited == set(range(1, 1 + len(OF_ASSESSMENT))) - {platt}


def test_what_must_be_said_is_said(foreign: Assessment, read_page: Any) -> None:
    text = " ".join(read_page(render_assessment(foreign, NAMES, FACTS)).text.split())
    assert text.count("Research use only. Not a medical device.") == 2
    for told in (
        "commit abc1234",
        "2026-01-02 03:04 UTC",
        "numpy 2.1",
        "whole table: 100 studies of 50 patients, 4 tasks",
        "400 rows",
        "Recalibrated risks and thresholds came with the assessed table",
        "whether the model has seen these patients before, must be said by its author",
    ):
        assert told in text, told


def test_rows_that_were_left_out_and_unknown_tasks_are_named(foreign: Assessment) -> None:
    facts = dict(foreign.facts) | {"rows_without_prediction": 7, "tasks_outside_the_catalogue": ["snoring"]}
    html = render_assessment(replace(foreign, facts=facts), NAMES, FACTS)
    assert "7 rows without a prediction were left out" in html
    assert "of the group “other”: snoring." in html
    assert "left out. " not in render_assessment(foreign, NAMES, FACTS).split("Discrimination.</b>")[0]


def test_no_key_of_the_table_is_shown(foreign: Assessment, read_page: Any) -> None:
    page = read_page(render_assessment(foreign, NAMES, FACTS))
    failures = page.tables["Most confident errors per task"]
    assert len(failures) == 1 + len(foreign.failure_cases) > 1
    assert not re.search(r"\b[sp]\d{3}\b", page.text)  # the keys of the table


def test_our_calibration_is_named_only_for_our_model(assessment: Assessment) -> None:
    ours = render_assessment(assessment, NAMES, FACTS)
    assert "Platt's method" in ours.replace("&#39;", "'")
    other = dict(assessment.calibration or {}) | {"model_id": "m2"}
    assert "known to its author alone" in render_assessment(replace(assessment, calibration=other), NAMES, FACTS)


def test_facts_without_settings_are_refused(assessment: Assessment) -> None:
    facts = {name: value for name, value in assessment.facts.items() if name != "settings"}
    with pytest.raises(PackageError, match="pipeline=assess"):
        render_assessment(replace(assessment, facts=facts), NAMES, FACTS)
