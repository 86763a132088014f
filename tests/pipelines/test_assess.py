"""The `assess` pipeline on a table from another system."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from matplotlib.figure import Figure
from pydantic import TypeAdapter
from sklearn.metrics import roc_auc_score

from hyperct_pipeline.datasets import CsvTable, FigureFile, PredictionsTable
from hyperct_pipeline.evaluation.assess_settings import AssessConfig, RecalibrationConfig
from hyperct_pipeline.labels.tasks import load_catalogue
from hyperct_pipeline.pipelines.assess import create_pipeline

CONF = Path(__file__).parents[2] / "conf"
CATALOGUE = load_catalogue(yaml.safe_load((CONF / "base" / "parameters_tasks.yml").read_text())["task_catalogue"])
TABLES = ("metrics_full", "decision_curves_full", "model_comparison")
TASKS = ("lung_nodule", "reduced_lv_systolic_function", "pulmonary_hypertension")


def _predictions() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    n = 120
    frames = []
    for task in TASKS:
        label = rng.integers(0, 2, n)
        risk = np.clip(0.3 * label + rng.normal(0.35, 0.2, n), 0, 1)
        study = [f"s{k}" for k in range(n)]
        frames.append(
            pd.DataFrame(
                {
                    "study_key": study,
                    "patient_key": [f"p{k // 2}" for k in range(n)],
                    "cohort": np.where(np.arange(n) < 60, "prospective_a", "external_test"),
                    "task": task,
                    "label": label if task != "pulmonary_hypertension" else -1,
                    "probability": risk,
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def _run(predictions: pd.DataFrame, folder: Path, validation: pd.DataFrame | None = None) -> dict[str, Any]:
    inputs = {
        "predictions@assessed": predictions,
        "params:recalibration": RecalibrationConfig(),
        "params:task_catalogue": CATALOGUE,
        "params:assess": AssessConfig(bootstrap_draws=30, reliability_bins=5),
    }
    assessing = create_pipeline()
    catalog = DataCatalog({name: MemoryDataset(value, copy_mode="assign") for name, value in inputs.items()})
    validated = folder / "validation.parquet"
    if validation is not None:
        validation.to_parquet(validated)
    catalog["validation_predictions"] = PredictionsTable(
        "validation", given=str(validated) if validation is not None else None
    )
    for name in TABLES:
        catalog[name] = CsvTable(filepath=str(folder / f"{name}.csv"))  # as in conf
    for name in ("collect_assessment", "write_assessment"):  # the page is tested below, from figures on disk
        assessing = assessing - assessing.only_nodes(name)
    outputs = SequentialRunner().run(assessing, catalog)
    kept = {name: dataset.load() for name, dataset in outputs.items()}
    return kept | {name: catalog.load(name) for name in TABLES}


def test_tables_and_figures(tmp_path: Path) -> None:
    table = _predictions()
    out = _run(table, tmp_path)
    metrics = out["metrics"].set_index(["task", "metric"])["value"]
    for task in TASKS[:2]:
        rows = table[table["task"] == task]
        assert metrics[task, "auc"] == pytest.approx(roc_auc_score(rows["label"], rows["probability"]))
    assert np.isnan(metrics["pulmonary_hypertension", "auc"])
    assert metrics["pulmonary_hypertension", "n_unknown"] == 120
    assert set(out["metrics_full"]["cohort"]) == {"all", "external_test", "prospective_a"}
    curves = out["decision_curves"]
    assert len(curves) == 3 * 76
    assert not curves.duplicated(["task", "threshold"]).any()
    full = out["decision_curves_full"]
    assert full.groupby("cohort").size().to_dict() == dict.fromkeys(("all", "external_test", "prospective_a"), 3 * 76)
    rows = table[(table["task"] == TASKS[0]) & (table["cohort"] == "prospective_a")]
    treated = rows["probability"] >= 0.3
    true, false = int((treated & (rows["label"] == 1)).sum()), int((treated & (rows["label"] == 0)).sum())
    at = full[(full["task"] == TASKS[0]) & (full["cohort"] == "prospective_a") & (full["threshold"] == 0.3)].iloc[0]
    assert at["net_benefit"] == pytest.approx((true - false * 0.3 / 0.7) / len(rows))
    assert list(out["decision_curve_figures"]) == ["prospective_a"]
    panels = [axes.get_title() for axes in out["decision_curve_figures"]["prospective_a"].axes if axes.get_visible()]
    assert sorted(panels) == sorted(CATALOGUE.name_of(task) for task in TASKS[1:])
    assert isinstance(out["auroc_figure"], Figure)
    assert isinstance(out["calibration_figure"], Figure)


def test_a_task_outside_the_catalogue_keeps_its_id(tmp_path: Path) -> None:
    out = _run(_predictions().replace({"task": {"lung_nodule": "snoring"}}), tmp_path)
    metrics = out["metrics"].set_index(["task", "metric"])["value"]
    assert np.isfinite(metrics["snoring", "auc"])
    assert out["assessment_facts"]["tasks_outside_the_catalogue"] == ["snoring"]
    assert out["metrics_full"].set_index("task").loc["snoring", "group"].unique().tolist() == ["other"]


def test_validation_rivals_and_subgroups_reach_their_tables(tmp_path: Path) -> None:
    table = _predictions()
    more = table.assign(probability_single_task=1.0 - table["probability"], sex=np.where(table.index % 2, "F", "M"))
    other = table.assign(study_key="v" + table["study_key"], patient_key="v" + table["patient_key"])
    out = _run(more, tmp_path, other)
    metrics = out["metrics"].set_index(["task", "metric"])["value"]
    assert np.isfinite(metrics[TASKS[0], "sensitivity"])
    assert np.isfinite(metrics[TASKS[0], "brier_recalibrated"])
    assert out["assessed_calibration"]["tasks"][TASKS[0]]["method"] == "platt"
    assert set(out["metrics_full"]["model"]) == {"hyperct", "single_task"}
    assert "sex: F" in set(out["metrics_full"]["subgroup"])
    assert out["negative_transfer"].set_index("task").loc[TASKS[0], "transfer"] == "positive"
    assert list(out["comparison_figures"]) == ["single_task"]
    assert {"as_given", "recalibrated"} == set(out["reliability"]["risk"])
    assert (out["failure_cases"]["study_key"].isna()).all()


def test_names_from_the_table_are_neither_paths_nor_formulas(tmp_path: Path) -> None:
    cohorts = {"prospective_a": "prospective/../$\\frac$", "external_test": "prospective_.._$ frac$"}
    table = _predictions().replace({"cohort": cohorts, "task": {"lung_nodule": "$x_{$ <b>"}})
    out = _run(table.assign(**{"probability_../x": 0.5}), tmp_path)
    assert list(out["decision_curve_figures"]) == ["prospective_frac", "prospective_frac_2"]
    assert list(out["comparison_figures"]) == ["x"]
    for figure in (out["auroc_figure"], out["calibration_figure"], *out["decision_curve_figures"].values()):
        FigureFile(str(tmp_path / "drawn.png"), svg=True).save(figure)


@pytest.mark.parametrize(
    ("tasks", "cohorts", "rival"),
    [
        (("1", "007", "True"), ("2021", "2022"), "1"),
        (("NA", "null", "1.0"), ("NA", "None"), "NA"),
        (("=x", "-y", "@z"), ("=x", "+y"), "=b"),
    ],
)
def test_names_that_read_as_other_values_stay_what_they_are(
    tmp_path: Path, tasks: tuple[str, ...], cohorts: tuple[str, str], rival: str
) -> None:
    names = {
        "task": dict(zip(TASKS, tasks, strict=True)),
        "cohort": dict(zip(("prospective_a", "external_test"), cohorts, strict=True)),
    }
    table = _predictions().replace(names)
    out = _run(table.assign(**{f"probability_{rival}": table["probability"] ** 2}), tmp_path)
    assert list(dict.fromkeys(out["decision_curves_full"]["task"])) == list(tasks)
    assert set(out["metrics_full"]["cohort"]) == {"all", *cohorts}
    assert set(out["model_comparison"]["rival"]) == {rival}
    assert len(out["comparison_figures"]) == 1
    assert len(out["decision_curve_figures"]) == 2
    for figure in out["decision_curve_figures"].values():
        shown = [axes.get_title() for axes in figure.axes if axes.get_visible()]
        assert shown == list(tasks)  # a panel each, none of them empty
        assert all(len(axes.lines) > 2 for axes in figure.axes[:2])


def test_the_page_of_another_systems_table_holds_no_key_of_it(tmp_path: Path) -> None:
    table = _predictions()
    table = table.assign(study_key="DOE^JANE" + table["study_key"], patient_key="MRN" + table["patient_key"])
    inputs = {
        "predictions@assessed": table,
        "validation_predictions": None,
        "model_calibration": None,
        "params:recalibration": RecalibrationConfig(),
        "params:task_catalogue": CATALOGUE,
        "params:assess": AssessConfig(model="theirs", bootstrap_draws=10),
    }
    catalog = DataCatalog({name: MemoryDataset(value, copy_mode="assign") for name, value in inputs.items()})
    for name in ("auroc", "calibration"):
        catalog[f"{name}_figure"] = FigureFile(str(tmp_path / f"{name}.png"), svg=True)
    for name in ("decision_curve", "comparison"):
        catalog[f"{name}_figures"] = FigureFile(str(tmp_path / name), svg=True)
    html = SequentialRunner().run(create_pipeline(), catalog)["assessment_html"].load()
    assert "<title>Assessment of theirs</title>" in html
    assert "DOE" not in html and "MRN" not in html
    assert "false positive" in html  # failure cases are there, by the number of their row
    mean = roc_auc_score(*(table.loc[table["task"] == TASKS[0], name] for name in ("label", "probability")))
    assert f"{mean:.2f} (" in html
    assert html.count("<svg") == 3


def test_the_pages_are_logged_and_their_parts_are_not_copied() -> None:
    catalog = yaml.safe_load((CONF / "base" / "catalog_model.yml").read_text())
    assert catalog["assessment_html"]["filepath"].endswith("/08_reporting/assessment.html")
    assert catalog["assessment_html"]["metadata"]["mlflow"]["kind"] == "text"
    for name in ("assessment", "report_assessment", "report_cohort", "report_model"):
        assert (catalog[name]["type"], catalog[name]["copy_mode"]) == ("MemoryDataset", "assign")


@pytest.mark.parametrize("env", ["base", "paper"])
def test_the_configured_parameters_are_valid(env: str) -> None:
    raw = yaml.safe_load((CONF / env / "parameters_assess.yml").read_text())["assess"]
    assert TypeAdapter(AssessConfig).validate_python(raw).thresholds_percent == (5, 80)


def test_the_table_behind_every_decision_figure_is_written_and_logged() -> None:
    catalog = yaml.safe_load((CONF / "base" / "catalog_model.yml").read_text())
    assert catalog["decision_curves_full"]["filepath"].endswith("/08_reporting/decision_curves_full.csv")
    assert catalog["decision_curves_full"]["metadata"] == catalog["decision_curves"]["metadata"]
