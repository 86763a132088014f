"""The `report` pipeline reads what the others wrote, from CSV and PNG."""

import io
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from pydantic import TypeAdapter
from scipy.special import expit

from hyperct_pipeline.evaluation.assess_settings import ALL, AssessConfig
from hyperct_pipeline.evaluation.assessment import assess
from hyperct_pipeline.evaluation.failure_cases import failure_cases
from hyperct_pipeline.evaluation.group_separation import separation_table
from hyperct_pipeline.evaluation.lora_pca import pca_table
from hyperct_pipeline.evaluation.model_comparison import comparison_table, transfer_table
from hyperct_pipeline.evaluation.prediction_checks import checked_predictions
from hyperct_pipeline.evaluation.report import ReportConfig
from hyperct_pipeline.evaluation.saliency_checks import COLUMNS
from hyperct_pipeline.evaluation.subgroups import subgroup_tables
from hyperct_pipeline.evaluation.task_rows import part_of
from hyperct_pipeline.evaluation.update_grams import gram_matrices
from hyperct_pipeline.labels.tasks import load_catalogue
from hyperct_pipeline.pipelines.report import create_pipeline

CONF = Path(__file__).parents[2] / "conf"
CATALOGUE = load_catalogue(yaml.safe_load((CONF / "base" / "parameters_tasks.yml").read_text())["task_catalogue"])
PNG = b"\x89PNG picture"


def _from_csv(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(frame.to_csv(index=False)))


def test_one_page_from_what_lies_on_disk() -> None:
    rng = np.random.default_rng(0)
    tasks, groups = CATALOGUE.ids, {task: CATALOGUE.group_of(task) for task in CATALOGUE.ids}
    index = pd.DataFrame({"study_key": [f"s{k}" for k in range(40)], "patient_key": [f"p{k}" for k in range(40)]})
    index = index.assign(
        cohort="prospective_a", split="test", volume="v.npy", sex=None, age_years=pd.array([None] * 40, dtype="Int16")
    )
    labels = pd.DataFrame(rng.integers(0, 2, (40, len(tasks))), columns=list(tasks)).astype("Int8")
    labels[tasks[0]] = pd.array([None] * 40, dtype="Int8")
    predictions = labels.assign(study_key=index["study_key"]).melt("study_key", var_name="task", value_name="label")
    predictions = predictions.assign(
        patient_key=predictions["study_key"].str.replace("s", "p"),
        cohort="prospective_a",
        probability=expit(rng.normal(size=len(predictions))),
        probability_calibrated=np.nan,
        threshold_youden=0.5,
    )
    config = AssessConfig(bootstrap_draws=5)
    checked = checked_predictions(predictions)
    found, whole = assess(checked, groups, config), part_of(checked, ALL, list(groups))
    full, curves = found.metrics, found.curves
    factors = torch.randn(len(tasks), 2, 2, 4, generator=torch.Generator().manual_seed(0))
    grams = gram_matrices({"q": (factors, factors.mT)}, 1.0)
    _, differences = subgroup_tables(checked, groups, config)
    inputs = {
        "study_index": index.join(labels),
        "cohort_flow": pd.DataFrame({"cohort": ["a"], "found": [40]}),
        "harmonization_report": pd.DataFrame(
            {"section": ["source"], "item": ["ct_rate.rows"], "split": [None], "reason": ["in"], "count": [40]}
        ),
        "training_history": {
            "epoch_000": {"epoch": 0, "settings": "new", "loss": 0.7123},
            "epoch_001": {"epoch": 1, "settings": "older", "loss": 0.6911},
        },
        "training_run": {"run_id": "run-5", "model_id": "m-1", "version": "2"},
        "calibration": {
            "model_id": "m1",
            "target_sensitivity": 0.9,
            "tasks": {task: {"method": "flat"} for task in tasks},
        },
        "assessed_calibration": {},
        "metrics_full": _from_csv(full),
        "decision_curves": _from_csv(curves[curves["cohort"] == ALL].drop(columns=["cohort", "model"])),
        "assessment_facts": {
            "model_id": "m1",
            "settings": asdict(config),
            "split": "test",
            "studies": 40,
            "patients": 40,
            "tasks": list(tasks),
            "rivals": [],
            "decision_cohorts": ["prospective_a"],
            "recalibration": "of the predictions",
        },
        "model_comparison": _from_csv(comparison_table(whole, groups, config)),
        "negative_transfer": _from_csv(transfer_table(whole, groups, config)),
        "subgroup_differences": _from_csv(differences),
        "failure_cases": _from_csv(failure_cases(checked, groups)),
        "lora_pca": _from_csv(pca_table(grams, tasks, groups).assign(weights="trained", model_id="m1")),
        "lora_separation": _from_csv(separation_table({"all": grams["all"]}, [], tasks, groups)),
        "saliency_checks": pd.DataFrame(columns=list(COLUMNS)),
        "decision_curve_figures": {"prospective_a": PNG},
        "comparison_figures": {},
        "model_description": {"model_id": "m1", "training": {"settings": "new"}},
        "model_card": {
            "model_id": "m1",
            "intended_use": "Research.",
            "parameters": 10,
            "trained_parameters": 5,
            "task_groups": groups,
            "preprocess_digest": "d1",
            "training": {"epoch": 1},
            "backbone": "vit",
            "backbone_weights": "random",
            "rank": 2,
            "tasks": list(tasks),
            "n_triplets": 3,
            "crop_yx": [32, 32],
            "window_hu": [-1000, 1000],
            "licence_notice": "",
        },
        "params:task_catalogue": CATALOGUE,
        "params:report": ReportConfig(),
    }
    pictures = ("label_prevalence", "training_curves", "task_curves", "auroc_figure", "calibration_figure")
    inputs |= dict.fromkeys((*pictures, "lora_pca_figure", "saliency_overview"), PNG)
    catalog = DataCatalog({name: MemoryDataset(value, copy_mode="assign") for name, value in inputs.items()})
    html = SequentialRunner().run(create_pipeline(), catalog)["report_html"].load()
    assert "0.7123" in html
    assert "0.6911" not in html  # an epoch of an earlier, longer training with other settings
    assert html.startswith("<!DOCTYPE html>")
    for task in tasks:
        assert CATALOGUE.name_of(task) in html
    mean = full[(full["task"] == "macro_cardiac") & (full["metric"] == "auc") & (full["cohort"] == ALL)].iloc[0]
    assert f"{mean['value']:.2f} ({mean['ci_low']:.2f} to {mean['ci_high']:.2f})" in html
    assert "no known label" in html
    assert html.count("flat: the prevalence for everybody") == len(tasks)
    assert "run-5" in html and "The predictions hold one model" in html
    assert html.count("<img ") == 8


@pytest.mark.parametrize("env", ["base", "paper"])
def test_the_configured_parameters_are_valid(env: str) -> None:
    raw = yaml.safe_load((CONF / env / "parameters_report.yml").read_text())["report"]
    TypeAdapter(ReportConfig).validate_python(raw)
