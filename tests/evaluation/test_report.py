"""The report: every number, nothing from outside, everything escaped."""

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import torch

from hyperct_pipeline.evaluation import lora_pca
from hyperct_pipeline.evaluation.assess_settings import ALL, AssessConfig, RecalibrationConfig
from hyperct_pipeline.evaluation.assessment import MACRO, MACRO_RULE, assess, primary_metrics
from hyperct_pipeline.evaluation.prediction_checks import checked_predictions, of_split
from hyperct_pipeline.evaluation.recalibration import apply_calibration, fit_calibration
from hyperct_pipeline.evaluation.task_rows import groups_of
from hyperct_pipeline.evaluation.report import Evidence, Pictures, ReportConfig, render_report
from hyperct_pipeline.evaluation.report_tables import number, with_interval

GROUPS = {"nodule": "radiological", "effusion": "radiological", "low_lvef": "cardiac", "dilated": "cardiac"}
NAMES = {
    "nodule": "Lung nodule",
    "effusion": "Pleural effusion",
    "low_lvef": "LVEF below 50 %",
    "dilated": "Dilated <ventricle> & more",
}
PNG = b"\x89PNG\r\n\x1a\n picture"


class Elements(HTMLParser):
    """All elements with their attributes, the text, and the tables by caption as lists of rows of cells."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.tables: dict[str, list[list[str]]] = {}
        self._caption, self._rows, self._within = "", [], ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._within = tag if tag in ("caption", "td", "th") else self._within
        if tag == "table":
            self._caption, self._rows = "", []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._within = "" if tag == self._within else self._within
        if tag == "table":
            self.tables[self._caption] = self._rows

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._within == "caption":
            self._caption += data
        elif self._within:
            self._rows[-1][-1] += data

    def row(self, caption: str, *first: str) -> dict[str, str]:
        """The only row of a table that begins with these cells, by column."""
        head, *body = self.tables[caption]
        (cells,) = [row for row in body if row[: len(first)] == list(first)]
        return dict(zip(head, cells, strict=True))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def recalibrated(predictions: pd.DataFrame) -> pd.DataFrame:
    validation = predictions[predictions["split"] == "validation"]
    return apply_calibration(predictions, fit_calibration(validation, RecalibrationConfig()))


def metrics_of(table: pd.DataFrame, groups: dict[str, str], config: AssessConfig) -> pd.DataFrame:
    return assess(table, groups_of(table, groups), config).metrics


def curves_of(table: pd.DataFrame, groups: dict[str, str], config: AssessConfig) -> pd.DataFrame:
    return assess(table, groups_of(table, groups), config).curves


@pytest.fixture
def evidence(predictions: pd.DataFrame) -> Evidence:
    config = AssessConfig(bootstrap_draws=20)
    calibration = fit_calibration(predictions, 10)
    assessed = of_split(apply_calibration(predictions, calibration), "test")
    full = metrics_of(assessed, GROUPS, config)
    curves = curves_of(assessed, GROUPS, config)
    index = predictions.pivot_table(
        index=["study_key", "patient_key", "cohort", "split"], columns="task", values="label"
    )
    index = index.reindex(columns=list(GROUPS)).reset_index()
    index = index.assign(sex=["F", "M", None, "F"] * 40, age_years=pd.array([61, 70, None, 55] * 40, dtype="Int16"))
    grams = lora_pca.gram_matrices({"q": (torch.randn(4, 2, 2, 8), torch.randn(4, 2, 6, 2))}, 1.0)
    return Evidence(
        study_index=index,
        cohort_flow=pd.DataFrame({"step": ["found", "<refused>"], "n_studies": [170, 10]}),
        harmonization_report=pd.DataFrame({"source": ["ct_rate"], "rows": [160]}),
        training_history={"epoch_001": {"train_loss": 0.6931, "validation_auc": None}},
        calibration=calibration,
        metrics_full=full,
        metrics=primary_metrics(full),
        decision_curves=curves[curves["cohort"] == ALL].drop(columns="cohort"),
        lora_pca=lora_pca.pca_table(grams, list(GROUPS), GROUPS),
        model_card={
            "model_id": "abc123",
            "backbone": "vit_tiny",
            "backbone_weights": "random",
            "rank": 4,
            "tasks": list(GROUPS),
            "n_triplets": 16,
            "crop_yx": [112, 112],
            "window_hu": [-1000, 1000],
            "training": {"epoch": 3},
            "licence_notice": "",
        },
    )


@pytest.fixture
def html(evidence: Evidence) -> str:
    pictures = Pictures(PNG, PNG, PNG, PNG, {"prospective_a": PNG}, PNG, PNG)
    config = ReportConfig(title="A & B <script>alert(1)</script>", limitations=("One site only.",))
    return render_report(evidence, pictures, NAMES, config, AssessConfig())


DISCRIMINATION = {
    "auprc": "AUPRC",
    "prevalence": "Prevalence",
    "sens_at_spec_90": "Sensitivity at 90 % specificity",
    "sens_at_spec_95": "at 95 %",
}
SHARES = {"sensitivity": "Sensitivity", "specificity": "Specificity", "ppv": "PPV", "npv": "NPV"}
CALIBRATION = {
    "brier": "Brier",
    "calibration_slope": "Slope",
    "calibration_intercept": "Intercept",
    "calibration_in_the_large": "In the large",
    "oe_ratio": "O:E",
}
CALIBRATION |= {f"{metric}_recalibrated": f"{title}, recalibrated" for metric, title in CALIBRATION.items()}


def _interval(row: dict[str, float]) -> str:
    if np.isnan(row["value"]):
        return "\N{EN DASH}"
    return f"{row['value']:.2f} ({row['ci_low']:.2f} to {row['ci_high']:.2f})"


def test_every_metric_stands_in_its_row(html: str, evidence: Evidence) -> None:
    page = Elements(html)
    full = evidence.metrics_full
    shown = set()
    for row in full[(full["cohort"] == ALL) & ~full["task"].isin(MACRO.values())].to_dict("records"):
        metric, name = row["metric"], NAMES[row["task"]]
        discrimination = page.row("Discrimination, test split, all cohorts", name)
        calls = page.row("Calls at the threshold chosen on validation (Youden), all cohorts", name)
        if metric == "auc":
            assert discrimination["AUROC (95 % interval)"] == _interval(row)
            counts = [discrimination[column] for column in ("Positive", "Negative", "Unknown", "Patients")]
            assert counts == [str(int(row[key])) for key in ("n_pos", "n_neg", "n_unknown", "n_patients")]
        elif metric in DISCRIMINATION:
            assert discrimination[DISCRIMINATION[metric]] == number(row["value"])
        elif metric in SHARES:
            assert calls[f"{SHARES[metric]} (95 % interval)"] == _interval(row)
        elif metric == "threshold_youden":
            assert calls["Threshold"] == number(row["value"])
        else:
            cells = page.row("Calibration, test split, all cohorts", name)
            assert cells[CALIBRATION[metric]] == number(row["value"])
        shown.add(metric)
    assert shown == {"auc", "threshold_youden", *DISCRIMINATION, *SHARES, *CALIBRATION}


def test_means_and_cohorts_stand_in_their_rows(html: str, evidence: Evidence) -> None:
    page = Elements(html)
    groups = {task: group for group, task in MACRO.items()}
    for row in evidence.metrics_full[evidence.metrics_full["metric"] == "auc"].to_dict("records"):
        place = "all cohorts" if row["cohort"] == ALL else row["cohort"]
        if row["task"] in groups:
            cells = page.row("Mean AUROC by task group", place, groups[row["task"]])
            assert cells["Mean AUROC (95 % interval)"] == _interval(row)
        elif row["cohort"] != ALL:
            assert page.row("AUROC (95 % interval) by cohort", NAMES[row["task"]])[place] == _interval(row)


def test_the_calibration_methods_are_named(html: str) -> None:
    page = Elements(html)
    methods = [page.row("Calibration, test split, all cohorts", name)["Recalibration"] for name in NAMES.values()]
    assert methods == ["Platt", "mean risk only", "\N{EN DASH}", "\N{EN DASH}"]


def test_the_other_numbers_stand_in_their_rows(html: str, evidence: Evidence) -> None:
    page = Elements(html)
    curve = evidence.decision_curves
    row = curve[(curve["task"] == "low_lvef") & (curve["threshold"] == 0.2)].iloc[0]
    cells = page.row("Net benefit of the model / of treating all", NAMES["low_lvef"])
    assert cells["20 %"] == f"{row['net_benefit']:.3f} / {row['treat_all']:.3f}"
    for of in evidence.lora_pca[evidence.lora_pca["module"] == "all"].to_dict("records"):
        cells = page.row("Weight updates: first components", str(of["number"]), NAMES[of["task"]])
        (first,) = [text for column, text in cells.items() if column.startswith("PC1 ")]
        assert first == f"{of['pc1']:.3f}"
    assert page.row("Training history", "epoch_001") == {
        "Epoch": "epoch_001",
        "train_loss": "0.6931",
        "validation_auc": "\N{EN DASH}",
    }
    assert "nan" not in page.text.lower().replace("nanometre", "")


def test_an_undefined_interval_is_said() -> None:
    assert with_interval(0.9444, np.nan, np.nan) == "0.94 (interval undefined)"
    assert with_interval(0.9444, 0.8, 0.99) == "0.94 (0.80 to 0.99)"
    assert with_interval(np.nan, np.nan, np.nan) == "\N{EN DASH}"


def test_nothing_is_loaded_from_anywhere(html: str) -> None:
    elements = Elements(html)
    for tag, attributes in elements.found:
        for key in ("src", "href", "srcset", "data", "action"):
            value = attributes.get(key)
            assert value is None or value.startswith(("data:image/png;base64,", "#")), (tag, value)
    assert not elements.of("script") and not elements.of("link")
    assert not re.search(r"@import|url\(", html)
    assert "default-src 'none'" in html


def test_text_from_data_is_escaped(html: str) -> None:
    assert "<script>" not in html
    assert "A &amp; B &lt;script&gt;" in html
    assert "Dilated &lt;ventricle&gt; &amp; more" in html
    assert "&lt;refused&gt;" in html


def test_pictures_are_inside_and_described(html: str) -> None:
    images = Elements(html).of("img")
    assert len(images) == 7
    assert all(len(image["alt"] or "") > 30 for image in images)
    encoded = str(images[0]["src"]).removeprefix("data:image/png;base64,")
    assert base64.b64decode(encoded) == PNG


def test_tables_have_headers_with_scope(html: str) -> None:
    elements = Elements(html)
    assert elements.of("html")[0]["lang"] == "en"
    assert all(head["scope"] in ("col", "row") for head in elements.of("th"))
    assert len(elements.of("caption")) == len(elements.of("table"))
    targets = {str(a["href"])[1:] for a in elements.of("a")}
    assert targets <= {attributes["id"] for _, attributes in elements.found if "id" in attributes}


def test_what_must_be_said_is_said(html: str) -> None:
    text = " ".join(Elements(html).text.split())
    assert text.count("Research use only. Not a medical device.") == 2
    assert MACRO_RULE in text
    assert "weights are random, not pre-trained" in text
    assert "One site only." in text
    assert "AUROC undefined: LVEF below 50 % (one class only); Dilated <ventricle> & more (no known label)." in text
    for source in ("2604.03224", "2106.09685", "2508.10104", "1988;44:837", "1997;53:567", "2006;26:565", "1610.02391"):
        assert source in text


def test_prevalence_counts_unknown_labels(html: str, evidence: Evidence) -> None:
    label = evidence.study_index.loc[evidence.study_index["split"] == "test", "nodule"]
    known, positive = int(label.notna().sum()), int(label.sum())
    assert f"{positive} / {known} ({positive / known:.0%}), {100 - known} unknown" in Elements(html).text
    assert "0 / 0, 100 unknown" in Elements(html).text


def test_the_licence_notice_is_shown_where_there_is_one(evidence: Evidence) -> None:
    card = dict(evidence.model_card) | {"backbone_weights": "hub", "licence_notice": "DINOv3 License applies."}
    pictures = Pictures(PNG, PNG, PNG, PNG, {}, PNG, PNG)
    html = render_report(
        Evidence(**vars(evidence) | {"model_card": card}), pictures, NAMES, ReportConfig(), AssessConfig()
    )
    assert "DINOv3 License applies." in html
    assert "weights are random" not in html
    assert "No cohort was named" in html


def test_level_and_split_are_those_of_the_configuration(evidence: Evidence) -> None:
    pictures = Pictures(PNG, PNG, PNG, PNG, {"prospective_a": PNG}, PNG, PNG)
    assess = AssessConfig(confidence_level=0.9, split="external")
    text = Elements(render_report(evidence, pictures, NAMES, ReportConfig(), assess)).text
    assert "95 % interval" not in text and "95 % percentiles" not in text
    assert "test split" not in text
    for told in (
        "Discrimination, external split, all cohorts",
        "Calibration, external split, all cohorts",
        "AUROC (90 % interval)",
        "Mean AUROC (90 % interval)",
        "Band: 90 % percentiles",
        "negatives in the external split",
        "All cohorts of the external split together",
    ):
        assert told in text
