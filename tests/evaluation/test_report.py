"""The report: every number, nothing from outside, everything escaped."""

import base64
import json
import re
import subprocess
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch

from hyperct_pipeline.errors import PackageError
from hyperct_pipeline.evaluation import lora_pca
from hyperct_pipeline.evaluation.assess_settings import ALL, AssessConfig, SubgroupConfig
from hyperct_pipeline.evaluation.assessment import MACRO, MACRO_RULE, assess
from hyperct_pipeline.evaluation.assessment_contents import decision_choice
from hyperct_pipeline.evaluation.group_separation import separation_table
from hyperct_pipeline.evaluation.metric_cells import REASONS
from hyperct_pipeline.evaluation.recalibration_effect import recalibration_effect
from hyperct_pipeline.evaluation.report import ReportConfig, render_report
from hyperct_pipeline.evaluation.report_decision_tables import decision_value_table
from hyperct_pipeline.evaluation.report_evidence import Assessment, CohortData, ModelEvidence, models_of
from hyperct_pipeline.evaluation.report_limitations import few_studies
from hyperct_pipeline.evaluation.report_references import OF_REPORT
from hyperct_pipeline.evaluation.report_tables import DASH, Table, fixed, number, p_value, with_interval
from hyperct_pipeline.evaluation.reporting_checklist import CLAIM, TO_COMPLETE, TRIPOD
from hyperct_pipeline.evaluation.run_facts import (
    SOFTWARE_OF_NUMBERS,
    RunFacts,
    commit_of,
    refuse_mixed_models,
    run_facts,
)
from hyperct_pipeline.evaluation.update_grams import gram_matrices

GROUPS = {"nodule": "radiological", "effusion": "radiological", "low_lvef": "cardiac", "dilated": "cardiac"}
NAMES = {
    "nodule": "Lung nodule",
    "effusion": "Pleural effusion",
    "low_lvef": "LVEF below 50 %",
    "dilated": "Dilated <ventricle> & more",
}
PNG = b"\x89PNG\r\n\x1a\n picture"


FACTS = RunFacts("2026-01-02 03:04 UTC", "0.1.0", "abc1234", "Python 3.11, numpy 2.1")
SVG = (
    b'<?xml version="1.0"?>\n<svg height="10pt" id="root" width="20pt"><metadata>x</metadata><style>*{}</style>'
    b'<path id="p1"/><use href="#p1" clip-path="url(#p1)"/><text>label &lt;b&gt;</text></svg>'
)
CONFIG = AssessConfig(bootstrap_draws=20)


class Evidence(NamedTuple):
    """What a report is made from."""

    cohort: CohortData
    model: ModelEvidence
    assessment: Assessment

    def changed(self, **fields: object) -> "Evidence":
        """The same with other values of fields, whichever part has them."""
        parts = ({name: value for name, value in fields.items() if hasattr(part, name)} for part in self)
        return Evidence(*(replace(part, **of) for part, of in zip(self, parts, strict=True)))


@pytest.fixture
def evidence(predictions: pd.DataFrame, assessment: Assessment) -> Evidence:
    index = predictions.pivot_table(
        index=["study_key", "patient_key", "cohort", "split"], columns="task", values="label"
    )
    index = index.reindex(columns=list(GROUPS)).reset_index()
    index = index.assign(sex=["F", "M", None, "F"] * 40, age_years=pd.array([61, 70, None, 55] * 40, dtype="Int16"))
    index = index.assign(volume="v.npy")
    grams = gram_matrices({"q": (torch.randn(4, 2, 2, 8), torch.randn(4, 2, 6, 2))}, 1.0)
    tasks = list(GROUPS)
    cohort = CohortData(
        study_index=index,
        cohort_flow=pd.DataFrame(
            {
                "cohort": ["a"],
                "found": [170],
                "with_known_label": [160],
                "eligible": [168],
                "reasons": ["NO_SERIES;<LOCALIZER>;NOT_AXIAL: 2, CONTRAST: 1"],
                "exclusions": [None],
            }
        ),
        harmonization_report=pd.DataFrame(
            [
                ("source", "ct_rate.rows", "in", 540),
                ("source", "ct_rate.rows", "repeated_study", 121),
                ("source", "ct_rate.studies", "excluded", 0),
                ("source", "ct_rate.studies", "matched", 419),
                ("source", "echo.rows", "in", 7),
                ("source", "echo.rv_function", "unmapped_text", 2),
                ("task", "nodule", "range_straddles", 3),
            ],
            columns=["section", "item", "reason", "count"],
        ),
        label_prevalence=SVG,
    )
    model = ModelEvidence(
        card={
            "model_id": "m1",
            "intended_use": "Research.",
            "parameters": 1234567,
            "trained_parameters": 99,
            "task_groups": GROUPS,
            "preprocess_digest": "d1",
            "backbone": "vit_tiny",
            "backbone_weights": "random",
            "rank": 4,
            "tasks": list(GROUPS),
            "n_triplets": 16,
            "crop_yx": [112, 112],
            "window_hu": [-1000, 1000],
            "training": {"epoch": 3, "lr": 1.25e-5},
            "licence_notice": "",
        },
        description={"model_id": "m1", "training": {"settings": "s1"}},
        training_run={"run_id": "run-77", "model_id": "m-1", "version": "3"},
        training_history={"epoch_001": {"train_loss": 0.6931, "lr": 1.25e-5, "validation_auc": None, "settings": "s1"}},
        training_curves=PNG,
        task_curves=SVG,
        lora_pca=lora_pca.pca_table(grams, tasks, GROUPS).assign(weights="trained", model_id="m1"),
        lora_separation=separation_table(grams, [grams], tasks, GROUPS),
        lora_pca_figure=SVG,
        saliency_checks=pd.DataFrame(
            {
                "task": ["nodule"],
                "swapped_task": ["low_lvef"],
                "rank_correlation_untrained": [0.125],
                "rank_correlation_random": [0.0625],
                "rank_correlation_swapped": [np.nan],
                "model_id": ["m1"],
            }
        ),
        saliency_overview=PNG,
    )
    return Evidence(cohort, model, assessment)


def _render(evidence: Evidence, config: ReportConfig | None = None) -> str:
    return render_report(*evidence, NAMES, config or ReportConfig(), FACTS)


@pytest.fixture
def html(evidence: Evidence) -> str:
    return _render(evidence, ReportConfig(title="A & B <script>alert(1)</script>", limitations=("One site only.",)))


SHARES = {"sensitivity": "Sensitivity", "specificity": "Specificity", "ppv": "PPV", "npv": "NPV", "f1": "F1"}
CALIBRATION = {
    "brier": "Brier",
    "calibration_slope": "Slope (1 is right)",
    "calibration_intercept": "Intercept (0 is right)",
    "calibration_in_the_large": "In the large (0 is right)",
    "oe_ratio": "Observed / expected (1 is right)",
}
DISCRIMINATION = {
    "auc": "AUROC",
    "auprc": "AUPRC",
    "sens_at_spec_90": "Sensitivity at 90 % specificity",
    "sens_at_spec_95": "Sensitivity at 95 % specificity",
}
TARGET = "sensitivity of at least 90% there"


def _interval(row: dict[str, float], digits: int = 2) -> str:
    if np.isnan(row["value"]):
        return f"\N{EN DASH} ({REASONS[row['ci_method']]})"
    if np.isnan(row["ci_low"]):
        return f"{row['value']:.{digits}f} (interval undefined)"
    return f"{row['value']:.{digits}f} ({row['ci_low']:.{digits}f} to {row['ci_high']:.{digits}f})"


def _plain(row: dict[str, float], digits: int) -> str:
    return _interval(row) if np.isnan(row["value"]) else f"{row['value']:.{digits}f}"


def test_no_metric_is_a_bare_dash(html: str, read_page: Any) -> None:
    page = read_page(html)
    metric_tables = ("Discrimination, ", "Calls at ", "Calibration, ", "AUROC by ", "Means by ")
    shown = [t for caption, t in page.tables.items() if caption.startswith(metric_tables)]
    assert len(shown) >= 6
    for head, *body in shown:
        for row in body:
            cells = dict(zip(head, row, strict=True))
            bare = {name for name, cell in cells.items() if cell == "\N{EN DASH}"}
            assert bare <= {"Recalibration", "Resamples with all of them"}, (row[0], bare)
    calls = page.row(
        "Calls at the threshold chosen on validation (Youden), all cohorts; 95 % intervals", NAMES["dilated"]
    )
    assert calls["NPV"] == "\N{EN DASH} (no threshold)"
    cohorts = page.row("AUROC by cohort; 95 % intervals", NAMES["low_lvef"])
    assert cohorts["internal_test"] == "\N{EN DASH} (one class only)"


def test_every_metric_stands_in_its_row(html: str, evidence: Evidence, read_page: Any) -> None:
    page = read_page(html)
    full = evidence.assessment.metrics_full
    part = full[(full["cohort"] == ALL) & (full["subgroup"] == ALL) & (full["model"] == "hyperct")]
    shown = set()
    for row in part[~part["task"].isin(MACRO.values())].to_dict("records"):
        metric, name = row["metric"], NAMES[row["task"]]
        base, at_target = metric.removesuffix("_at_target"), metric.endswith("_at_target")
        discrimination = page.row("Discrimination, test split, all cohorts; 95 % intervals", name)
        title = TARGET if at_target or metric == "threshold_target_sensitivity" else "Youden"
        calls = page.row(f"Calls at the threshold chosen on validation ({title}), all cohorts; 95 % intervals", name)
        if metric in DISCRIMINATION:
            assert discrimination[DISCRIMINATION[metric]] == _interval(row)
            counts = [discrimination[column] for column in ("Positive", "Negative", "Unknown", "Patients")]
            assert counts == [str(int(row[key])) for key in ("n_pos", "n_neg", "n_unknown", "n_patients")]
        elif metric == "prevalence":
            assert discrimination["Prevalence"] == _plain(row, 2)
        elif base in SHARES:
            assert calls[SHARES[base]] == _interval(row)
        elif metric.startswith("threshold_"):
            assert calls["Threshold"] == _plain(row, 3)
        else:
            again = metric.endswith("_recalibrated")
            risk = "recalibrated on validation" if again else "risk as the model gives it"
            cells = page.row(f"Calibration, {risk}, test split, all cohorts; 95 % intervals", name)
            base = metric.removesuffix("_recalibrated")
            expected = _plain(row, 2) if base == "ece" else _interval(row)
            assert cells["ECE" if base == "ece" else CALIBRATION[base]] == expected
        shown.add(metric)
    assert set(DISCRIMINATION) | set(SHARES) | set(CALIBRATION) | {"ece", "threshold_youden", "f1_at_target"} <= shown


def test_means_and_cohorts_stand_in_their_rows(html: str, evidence: Evidence, read_page: Any) -> None:
    page = read_page(html)
    groups = {task: group for group, task in MACRO.items()}
    full = evidence.assessment.metrics_full
    rows = full[(full["metric"] == "auc") & (full["model"] == "hyperct") & (full["subgroup"] == ALL)]
    for row in rows.to_dict("records"):
        place = "all cohorts" if row["cohort"] == ALL else row["cohort"]
        if row["task"] in groups:
            cells = page.row("Means by task group", place, groups[row["task"]])
            assert cells["Mean AUROC (95 % interval)"] == _interval(row)
        elif row["cohort"] != ALL:
            assert page.row("AUROC by cohort; 95 % intervals", NAMES[row["task"]])[place] == _interval(row)


def test_the_calibration_methods_are_named(html: str, read_page: Any) -> None:
    page = read_page(html)
    caption = "Calibration, recalibrated on validation, test split, all cohorts; 95 % intervals"
    methods = [page.row(caption, name)["Recalibration"] for name in NAMES.values()]
    assert methods == ["Platt", "mean risk only", "\N{EN DASH}", "\N{EN DASH}"]


def test_recalibration_that_the_table_brought_is_not_credited_to_ours(evidence: Evidence, read_page: Any) -> None:
    brought = dict(evidence.assessment.facts) | {"model_id": None}
    given = evidence.changed(facts=brought)
    for foreign in (given, evidence.changed(calibration={})):
        page = read_page(_render(foreign))
        caption = "Calibration, recalibrated risk of the table, test split, all cohorts; 95 % intervals"
        methods = [page.row(caption, name)["Recalibration"] for name in NAMES.values()]
        assert methods == ["as the table gives it", "as the table gives it", "\N{EN DASH}", "\N{EN DASH}"]
        assert "sensitivity of at least" not in page.text and "Platt's method" not in page.text
        assert "target sensitivity, which the table does not say" in page.text
        assert "Thresholds are those of the assessed table" in page.text
    none = dict(evidence.assessment.facts) | {"recalibration": "none"}
    page = read_page(_render(evidence.changed(facts=none)))
    assert "no threshold was chosen" in page.text and "Thresholds were chosen" not in page.text
    assert not [caption for caption in page.tables if "recalibrated" in caption or caption.startswith("Calls at")]


def test_a_calibration_that_the_assessment_fitted_stands_before_the_models(evidence: Evidence, read_page: Any) -> None:
    tasks = {task: {"method": "isotonic"} for task in GROUPS}
    fitted = {"model_id": None, "target_sensitivity": 0.75, "tasks": tasks}
    facts = dict(evidence.assessment.facts) | {"recalibration": "validation table"}
    page = read_page(_render(evidence.changed(fitted_calibration=fitted, facts=facts)))
    caption = "Calibration, recalibrated on validation, test split, all cohorts; 95 % intervals"
    assert page.row(caption, NAMES["nodule"])["Recalibration"] == "isotonic"
    assert "sensitivity of at least 75% there" in page.text


def test_net_benefits_at_a_stated_prevalence_are_shown(
    evidence: Evidence, assessed: pd.DataFrame, read_page: Any
) -> None:
    config = replace(CONFIG, stated_prevalence={"nodule": 0.1})
    _, curves = assess(assessed, GROUPS, config)
    curves = curves[(curves["cohort"] == ALL) & (curves["model"] == config.model)]
    caption = "Net benefit (95 % interval) / of treating all, at the stated prevalence, by risk threshold"
    page = read_page(_render(evidence.changed(decision_curves=curves)))
    row = curves[(curves["task"] == "nodule") & (curves["threshold"] == 0.2)].iloc[0]
    value, low, high = (row[f"net_benefit_stated{part}_recalibrated"] for part in ("", "_ci_low", "_ci_high"))
    assert low < value < high
    cells = page.row(caption, NAMES["nodule"])
    assert cells["20 %"] == f"{with_interval(value, low, high, 3)} / {number(0.1 - 0.9 * 0.25)}"
    assert cells["Stated prevalence"] == "10 %"
    assert caption not in read_page(_render(evidence)).tables


def test_cohorts_are_named_as_the_table_names_them(evidence: Evidence, read_page: Any) -> None:
    page = read_page(_render(evidence))
    assert "Cohort prospective a." in page.text and "Cohort prospective_a" not in page.text


def test_net_benefits_are_those_that_the_figure_emphasises(evidence: Evidence, read_page: Any) -> None:
    curves = evidence.assessment.decision_curves
    facts = dict(evidence.assessment.facts)
    facts["settings"] = dict(facts["settings"]) | {"decision_group": "radiological"}
    evidence = evidence.changed(facts=facts)
    page = read_page(_render(evidence))
    row = curves[(curves["task"] == "nodule") & (curves["threshold"] == 0.2)].iloc[0]
    caption = "Net benefit of the model / of treating all, by risk threshold"
    cells = page.row(caption, NAMES["nodule"])
    assert cells["Risk"] == "recalibrated"
    assert cells["20 %"] == f"{number(row['net_benefit_recalibrated'])} / {number(row['treat_all'])}"
    flat = curves.assign(recalibration_is_flat=curves["task"] == "nodule")
    cells = read_page(_render(evidence.changed(decision_curves=flat))).row(caption, NAMES["nodule"])
    assert cells["Risk"] == "as given"
    assert cells["20 %"] == f"{number(row['net_benefit'])} / {number(row['treat_all'])}"


def test_the_other_numbers_stand_in_their_rows(html: str, evidence: Evidence, read_page: Any) -> None:
    page = read_page(html)
    for of in evidence.model.lora_pca[evidence.model.lora_pca["module"] == "all"].to_dict("records"):
        cells = page.row("Weight updates: first components", str(of["number"]), NAMES[of["task"]])
        (first,) = [text for column, text in cells.items() if column.startswith("PC1 ")]
        assert first == f"{of['pc1']:.3f}"
    history = page.row("Training history", "epoch_001")
    assert (history["Train loss"], history["Learning rate"]) == ("0.6931", "1.25e-05")  # 0.000 would be wrong
    row = evidence.assessment.model_comparison.set_index("task").loc["nodule"]
    cells = page.row("Comparison on the same studies", NAMES["nodule"])
    assert cells["AUROC of the rival"] == f"{row['auc_rival']:.2f}"
    assert cells["p (Holm)"] == p_value(row["p_holm"])
    assert "Do the task groups separate?" in page.tables
    assert (
        page.row("Sanity checks of the maps: rank correlations", NAMES["nodule"])["With an untrained model"] == "0.12"
    )
    assert page.row("The model", "Parameters in all")["Value"] == "1,234,567"
    assert page.row("The epoch that was kept", "Learning rate")["Value"] == "1.25e-05"
    flow = page.row("Studies at each step", "a")
    assert list(flow.items()) == [  # in the order of the way
        ("Cohort", "a"),
        ("Studies found", "170"),
        ("Eligible", "168"),
        ("With a known label", "160"),
        ("Why there is no volume", "2 no series (<localizer>, not axial); 1 contrast"),
        ("Why not eligible", DASH),
    ]
    assert "nan" not in re.sub(r"[\w]*nan[\w]+", "", page.text.lower())


def test_subgroups_and_failures_are_shown_and_small_cells_are_not(
    html: str, evidence: Evidence, read_page: Any
) -> None:
    page = read_page(html)
    caption = "AUROC by sex; 95 % intervals; positive / negative"
    assert page.row(caption, NAMES["effusion"])["F"] == "too few to show"
    full = evidence.assessment.metrics_full
    row = full[(full["subgroup"] == "sex: F") & (full["task"] == "nodule") & (full["metric"] == "auc")].iloc[0]
    expected = f"{_interval(row)}; {int(row['n_pos'])} / {int(row['n_neg'])}"
    assert page.row(caption, NAMES["nodule"])["F"] == expected
    failures = page.tables["Most confident errors per task"]
    assert len(failures) == 1 + len(evidence.assessment.failure_cases)
    assert not any("s0" in cell for row in failures for cell in row)  # these keys are no pseudonyms of ours


def test_the_page_says_when_with_what_and_of_which_model_it_was_made(html: str, read_page: Any) -> None:
    text = " ".join(read_page(html).text.split())
    for told in (
        "2026-01-02 03:04 UTC",
        "commit abc1234",
        "run-77",
        "registered version 3",
        "100 studies of 50 patients",
    ):
        assert told in text


def test_parts_of_different_models_are_refused(evidence: Evidence) -> None:
    other = {"model_id": "m2", "training": {}}
    with pytest.raises(PackageError, match=r"different models \(model card of m1, .*model package of m2\).*evaluate"):
        _render(evidence.changed(description=other))
    with pytest.raises(PackageError, match="adapters of m9"):
        _render(evidence.changed(lora_pca=evidence.model.lora_pca.assign(model_id="m9")))


def test_parts_that_cannot_be_matched_are_marked(evidence: Evidence) -> None:
    assert "name no model" not in _render(evidence)
    foreign = dict(evidence.assessment.facts) | {"model_id": None, "split": None}
    page = _render(evidence.changed(facts=foreign, calibration={}))
    assert "The predictions that were assessed name no model" in page
    assert "Discrimination, whole table, all cohorts" in page
    newer = {"model_id": "m1", "training": {"settings": "s2"}}
    assert "a training was begun after this model was made" in _render(evidence.changed(description=newer))
    assert "<dt>Training run</dt><dd>not tracked</dd>" in _render(evidence.changed(training_run=None))
    assert "could not be checked" in _render(evidence.changed(description=None))


def test_a_table_carries_its_csv(html: str, read_page: Any) -> None:
    links = [a for a in read_page(html).of("a") if "download" in a]
    assert len(links) == len(read_page(html).of("table"))
    by_name = {str(a["download"]): str(a["href"]) for a in links}
    content = by_name["studies_at_each_step.csv"].split("base64,")[1]
    assert base64.b64decode(content).decode() == (
        "Cohort,Studies found,Eligible,With a known label,Why there is no volume,Why not eligible\r\n"
        f'a,170,168,160,"2 no series (<localizer>, not axial); 1 contrast",{DASH}\r\n'
    )


def test_the_checklist_says_where_and_what_is_left_to_people(html: str, read_page: Any) -> None:
    page = read_page(html)
    assert page.row("TRIPOD+AI and CLAIM", "TRIPOD+AI 23a")["Where"] == "Discrimination"
    assert page.row("TRIPOD+AI and CLAIM", "TRIPOD+AI 17")["Where"] == "to complete"
    assert page.row("TRIPOD+AI and CLAIM", "CLAIM 33")["Where"].startswith("Discrimination; to complete: ")
    headings = {" ".join(text.split()) for text in re.findall(r"<h2[^>]*>(.*?)</h2>", html)}
    places = {item.place for item in (*TRIPOD, *CLAIM)} - {TO_COMPLETE}
    assert places <= headings


def test_small_numbers_and_undefined_intervals_are_said() -> None:
    assert with_interval(0.9444, np.nan, np.nan) == "0.94 (interval undefined)"
    assert with_interval(0.9444, 0.8, 0.99) == "0.94 (0.80 to 0.99)"
    assert with_interval(np.nan, np.nan, np.nan) == "\N{EN DASH}"
    assert [number(v) for v in (0.00049, 0.0006, 0.0, -1e-5, 3)] == ["4.90e-04", "0.001", "0.000", "-1.00e-05", "3"]
    assert [p_value(v) for v in (0.0004, 0.05, None)] == ["< 0.001", "0.050", "\N{EN DASH}"]


def test_nothing_is_loaded_from_anywhere(html: str, read_page: Any) -> None:
    elements = read_page(html)
    for tag, attributes in elements.found:
        for key in ("src", "href", "srcset", "data", "action"):
            value = attributes.get(key)
            allowed = ("data:image/png;base64,", "data:text/csv;charset=utf-8;base64,", "#")
            assert value is None or value.startswith(allowed), (tag, value)
    assert not elements.of("script") and not elements.of("link")
    assert not re.search(r"@import|url\((?!#)", html)
    assert "default-src 'none'" in html


def test_text_from_data_is_escaped(html: str) -> None:
    assert "<script>" not in html
    assert "A &amp; B &lt;script&gt;" in html
    assert "Dilated &lt;ventricle&gt; &amp; more" in html
    assert "&lt;localizer&gt;" in html


def test_pictures_are_inside_and_described(html: str, read_page: Any) -> None:
    page = read_page(html)
    images, drawings = page.of("img"), page.of("svg")
    assert (len(images), len(drawings)) == (3, 6)
    assert all(len(image["alt"] or "") > 30 for image in images)
    assert all(drawing["role"] == "img" and len(drawing["aria-label"] or "") > 30 for drawing in drawings)
    encoded = str(images[0]["src"]).removeprefix("data:image/png;base64,")
    assert base64.b64decode(encoded) == PNG


def test_drawings_on_one_page_share_no_ids(html: str, read_page: Any) -> None:
    page = read_page(html)
    ids = [attributes["id"] for _, attributes in page.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert 'href="#auroc_figure-p1" clip-path="url(#auroc_figure-p1)"' in html
    assert "<metadata>" not in html and "label &lt;b&gt;" in html
    assert all("width" not in drawing for drawing in page.of("svg"))


def test_tables_have_headers_with_scope(html: str, read_page: Any) -> None:
    elements = read_page(html)
    assert elements.of("html")[0]["lang"] == "en"
    assert all(head["scope"] in ("col", "row") for head in elements.of("th"))
    assert len(elements.of("caption")) == len(elements.of("table"))
    targets = {str(a["href"])[1:] for a in elements.of("a") if "download" not in a}
    assert targets <= {attributes["id"] for _, attributes in elements.found if "id" in attributes}


def test_what_must_be_said_is_said(html: str, read_page: Any) -> None:
    text = " ".join(read_page(html).text.split())
    assert text.count("Research use only. Not a medical device.") == 2
    assert MACRO_RULE in text
    assert "weights are random, not pre-trained" in text
    assert "One site only." in text
    assert "AUROC undefined: LVEF below 50 % (one class only); Dilated <ventricle> & more (no known label)." in text
    for source in (
        "e078378",
        "e240300",
        "2604.03224",
        "2106.09685",
        "2508.10104",
        "1988;44:837",
        "1997;53:567",
        "2006;26:565",
        "1610.02391",
    ):
        assert source in text


def test_the_report_cites_all_that_it_lists(html: str, read_page: Any) -> None:
    cited = [int(number) for number in re.findall(r"\[(\d+)\]", read_page(html).text)]
    assert list(dict.fromkeys(cited)) == list(range(1, 1 + len(OF_REPORT)))  # in the order of the list


def test_prevalence_counts_unknown_labels(html: str, evidence: Evidence, read_page: Any) -> None:
    label = evidence.cohort.study_index.loc[evidence.cohort.study_index["split"] == "test", "nodule"]
    known, positive = int(label.notna().sum()), int(label.sum())
    assert f"{positive} / {known} ({positive / known:.0%}), {100 - known} unknown" in read_page(html).text
    assert "0 / 0, 100 unknown" in read_page(html).text


def test_the_licence_notice_is_shown_where_there_is_one(evidence: Evidence) -> None:
    card = dict(evidence.model.card) | {"backbone_weights": "hub", "licence_notice": "DINOv3 License applies."}
    html = _render(evidence.changed(card=card, decision_curve_figures={}))
    assert "DINOv3 License applies." in html
    assert "weights are random" not in html


def test_labels_of_numbers_are_those_they_were_made_with(evidence: Evidence, read_page: Any) -> None:
    made_with = AssessConfig(
        model="theirs",
        confidence_level=0.9,
        split="external",
        bootstrap_draws=77,
        ece_bins=13,
        single_task_model="alone",
        subgroups=SubgroupConfig(min_class_count=21),
    )
    written = json.loads(json.dumps(asdict(made_with)))  # as the facts come back from their file
    facts = dict(evidence.assessment.facts) | {"split": "external", "settings": written}
    metrics = evidence.assessment.metrics_full.replace({"model": {"hyperct": "theirs"}})
    none = evidence.assessment.negative_transfer.iloc[:0]
    page = read_page(_render(evidence.changed(facts=facts, metrics_full=metrics, negative_transfer=none)))
    text = page.text
    assert len(page.tables["Discrimination, external split, all cohorts; 90 % intervals"]) == 1 + len(GROUPS)
    assert "95 % interval" not in text and "95 % percentiles" not in text
    assert "test split" not in text
    for told in (
        "Discrimination, external split, all cohorts; 90 % intervals",
        "Mean AUROC (90 % interval)",
        "Band: 90 % percentiles",
        "negatives in the external split",
        "All cohorts of the external split together",
        "over 77 resamples",
        "over 13 bins",
        "fewer than 21 positives",
        "no model named alone",
    ):
        assert told in text


def test_facts_of_another_version_are_refused(evidence: Evidence) -> None:
    for settings, place in ((None, "settings"), (asdict(CONFIG) | {"seeds": 1}, "seeds")):
        facts = dict(evidence.assessment.facts) | {"settings": settings}
        with pytest.raises(
            PackageError, match=rf"assessment_facts: settings do not fit .*\({place}\).*pipeline=assess"
        ):
            _render(evidence.changed(facts=facts))


def test_the_commit_is_that_of_the_checkout_or_unknown(tmp_path: Path) -> None:
    assert commit_of(tmp_path) == "unknown"
    # a package below somebody else's repository, in a folder that it ignores, is not of its commit
    installed = tmp_path / "ignored"
    installed.mkdir()
    (installed / "code.py").write_text("")
    (tmp_path / ".gitignore").write_text("ignored\n")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e"]
    for command in (["init", "-q"], ["add", ".gitignore"], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *command], check=True)
    assert commit_of(tmp_path) != "unknown"
    assert commit_of(installed) == "unknown"
    facts = run_facts()
    assert "torch" in facts.software and "torch" not in run_facts(SOFTWARE_OF_NUMBERS).software
    assert "numpy" in facts.software and facts.made_at.endswith("UTC")


def test_a_formula_in_a_cell_is_not_run_from_the_csv_of_a_table() -> None:
    table = Table("Sites", ["Site", "Difference"], [["=HYPERLINK(1)", "-0.02 (-0.05 to 0.01)"]])
    text = base64.b64decode(table.csv_source.split(",", 1)[1]).decode()
    assert text.splitlines() == ["Site,Difference", "'=HYPERLINK(1),-0.02 (-0.05 to 0.01)"]


def test_saliency_of_another_model_is_refused(evidence: Evidence) -> None:
    other = evidence.changed(saliency_checks=evidence.model.saliency_checks.assign(model_id="m2"))
    with pytest.raises(PackageError, match="saliency of m2"):
        refuse_mixed_models(models_of(other.model, other.assessment))


def test_a_model_that_calls_everybody_alike_is_not_called_best(evidence: Evidence) -> None:
    curves = evidence.assessment.decision_curves
    alike = curves.assign(net_benefit=curves["treat_all"], net_benefit_recalibrated=np.nan)
    table = decision_value_table(alike, NAMES, CONFIG)
    best = [at for at, column in enumerate(table.columns) if column.startswith("P(model best)")]
    cells = {row[at] for row in table.rows for at in best}
    assert f"{DASH} (acts as treat all)" in cells
    assert cells <= {f"{DASH} (acts as treat all)", DASH}


def test_values_of_decisions_have_a_column_and_one_format_each(evidence: Evidence) -> None:
    curves = evidence.assessment.decision_curves
    config = replace(CONFIG, decision_group="radiological")
    suffix = "_recalibrated"
    at = (curves["task"] == "nodule") & (curves["threshold"] == 0.2)
    curves = curves.assign(
        **{
            f"evpi{suffix}": curves[f"evpi{suffix}"].mask(at, 2.97e-05),
            f"p_best{suffix}": curves[f"p_best{suffix}"].mask(at, 0.001),
            f"interventions_avoided_per_100{suffix}": curves[f"interventions_avoided_per_100{suffix}"].mask(at, -12.34),
        }
    )
    table = decision_value_table(curves, NAMES, config)
    (row,) = [row for row in table.rows if row[0] == NAMES["nodule"]]
    cells = dict(zip(table.columns, row, strict=True))
    assert (cells["Avoided at 20 %"], cells["P(model best) at 20 %"], cells["EVPI at 20 %"]) == (
        "-12.3",
        "< 0.01",
        "< 0.0001",
    )
    assert [fixed(v, 2) for v in (0.0, 0.005, 0.0049, -0.001, np.nan)] == ["0.00", "0.01", "< 0.01", "> -0.01", DASH]


def test_studies_without_a_volume_are_named_at_the_labels(evidence: Evidence) -> None:
    assert "Studies without a volume" not in _render(evidence)
    index = evidence.cohort.study_index
    lacking = index["study_key"].isin(["s001", "s100", "s101"])
    html = _render(evidence.changed(study_index=index.assign(volume=index["volume"].mask(lacking))))
    assert "Studies without a volume are counted here (1 of validation, 2 of test)" in html


def test_label_tables_are_summed_up_by_source(html: str, read_page: Any) -> None:
    page = read_page(html)
    caption = "How the label tables were read"
    assert page.row(caption, "ct_rate") == {
        "Source": "ct_rate",
        "Rows": "540",
        "Matched to a scan": "419 studies",
        "Not used": "121 rows: repeated study",
    }
    assert page.row(caption, "echo")["Not used"] == "2 cells of rv function: unmapped text"
    assert "range_straddles" not in page.text


def test_numbers_of_single_tasks_are_left_to_the_csv_of_the_history(evidence: Evidence, read_page: Any) -> None:
    history = {"epoch_001": {"train_loss": 0.5, "train_loss/nodule": 0.25, "validation_tasks": 25.0}}
    card = dict(evidence.model.card) | {"training": {"epoch": 3.0, "validation_tasks": 25.0}}
    page = read_page(_render(evidence.changed(training_history=history, card=card)))
    assert page.row("Training history", "epoch_001") == {
        "Epoch": "epoch_001",
        "Train loss": "0.5000",
        "Validation tasks": "25",
    }
    (link,) = [a for a in page.of("a") if a.get("download") == "training_history.csv"]
    text = base64.b64decode(str(link["href"]).split("base64,")[1]).decode()
    assert text.splitlines()[1] == "epoch_001,0.5000,0.2500,25"
    assert page.row("The epoch that was kept", "Validation tasks")["Value"] == "25"
    assert page.row("The epoch that was kept", "Epoch")["Value"].startswith("3 (")


def test_maps_that_hardly_differ_between_tasks_are_called_so(evidence: Evidence) -> None:
    checks = evidence.model.saliency_checks
    for median, told in ((0.8, True), (0.79, False)):
        html = _render(evidence.changed(saliency_checks=checks.assign(rank_correlation_swapped=median)))
        assert ("the maps hardly differ between tasks" in html) is told
    assert "hardly differ" not in _render(evidence)  # undefined
    assert "07_model_output/saliency" in html


def test_limitations_speak_of_what_there_is(evidence: Evidence) -> None:
    assert few_studies(evidence.assessment, CONFIG) == (
        "1 of 4 tasks have fewer than 10 positives or negatives in the test split, and 2 of 4 have no defined AUROC; "
        "their numbers carry little weight."
    )
    full = evidence.assessment.metrics_full
    only = full[full["task"].isin(["nodule", *MACRO.values()])]
    assert few_studies(replace(evidence.assessment, metrics_full=only), CONFIG) == ""
    html = _render(evidence)
    assert "<code>assess.stated_prevalence</code>" in html and "`" not in html


def test_what_recalibration_did_stands_at_calibration_and_at_limitations(evidence: Evidence, read_page: Any) -> None:
    assessment = evidence.assessment
    effect = recalibration_effect(assessment.metrics_full, CONFIG)
    assert effect is not None and effect.worse > 0
    told = effect.sentence(assessment.applied_calibration)
    assert "fitted on 60 validation studies of 30 patients" in told
    html = _render(evidence)
    assert html.count(told) == 2
    full = assessment.metrics_full
    good = full.assign(value=full["value"].mask(full["metric"] == "brier", 0.9))
    good = good.assign(ci_low=good["ci_low"].mask(good["metric"] == "calibration_in_the_large_recalibrated", -9.0))
    good = good.assign(ci_high=good["ci_high"].mask(good["metric"] == "calibration_in_the_large_recalibrated", 9.0))
    html = _render(evidence.changed(metrics_full=good))
    assert html.count("made the Brier score better in 2 and worse in 0 of 2 tasks") == 1  # no limitation
    caption = "Calibration, recalibrated on validation, test split, all cohorts; 95 % intervals"
    fitted = assessment.applied_calibration["tasks"]["nodule"]
    cells = read_page(html).row(caption, NAMES["nodule"])
    assert cells["Validation n (positive)"] == f"{fitted['n']} ({fitted['n_pos']})"


@pytest.mark.parametrize(
    ("named", "cohorts", "told"),
    [
        (("a",), ["a"], "the configuration names"),
        ((), ["prospective_a", "prospective_b"], "Drawn are the prospective cohorts"),
        ((), ["external", "internal"], "every cohort is drawn"),
        ((), [ALL], "names no cohort"),
    ],
)
def test_the_choice_of_cohorts_with_decision_curves_is_explained(
    named: tuple[str, ...], cohorts: list[str], told: str
) -> None:
    assert told in decision_choice(cohorts, AssessConfig(decision_cohorts=named))
