"""What a newcomer has after the commands of the README."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytestmark = pytest.mark.slow

N_TASKS = 25


def table(chain: Any, name: str) -> pd.DataFrame:
    return pd.read_parquet(chain.data / name)


def test_every_study_is_accounted_for(chain: Any) -> None:
    manifest = table(chain, "02_intermediate/conversion_manifest.parquet")
    truth = pd.read_csv(chain.data / "01_raw/phantom/labels/truth.csv")
    assert len(manifest) == len(truth)
    assert manifest["study_key"].is_unique
    assert set(manifest["status"]) <= {"converted", "refused", "failed"}
    assert (manifest.loc[manifest["status"] != "converted", "reason_codes"].str.len() > 0).all()
    index = table(chain, "05_model_input/study_index.parquet")
    assert set(manifest["study_key"]) <= set(index["study_key"])


def test_broken_studies_are_refused_for_their_reason(chain: Any) -> None:
    manifest = table(chain, "02_intermediate/conversion_manifest.parquet")
    truth = pd.read_csv(chain.data / "01_raw/phantom/labels/truth.csv")
    expected = truth["expected_status"].value_counts().to_dict()
    assert expected["refused"] > 0
    assert manifest["status"].value_counts().to_dict() == expected


def test_patients_do_not_cross_splits(chain: Any) -> None:
    index = table(chain, "05_model_input/study_index.parquet").dropna(subset="split")
    assert (index.groupby("patient_key")["split"].nunique() == 1).all()
    assert set(index["split"]) == {"train", "validation", "test"}


def test_predictions_are_complete_and_finite(chain: Any) -> None:
    predictions = table(chain, "07_model_output/predictions.parquet")
    index = table(chain, "05_model_input/study_index.parquet")
    scored = index[index["split"].isin(["validation", "test"]) & index["volume"].notna()]
    assert len(predictions) == len(scored) * N_TASKS
    assert predictions["probability"].between(0, 1).all()
    assert predictions["label"].isna().any()
    assert set(predictions["label"].dropna()) == {0, 1}


def test_metrics_say_what_is_undefined(chain: Any) -> None:
    metrics = pd.read_csv(chain.data / "08_reporting/metrics_full.csv")
    auc = metrics[metrics["metric"] == "auc"]
    assert set(metrics["status"]) <= {"ok", "low_count", "one_class", "no_labels", "suppressed"}
    assert set(metrics.loc[metrics["status"] == "suppressed", "value"].isna()) <= {True}
    undefined = auc["status"].isin(["one_class", "no_labels", "suppressed"])
    assert auc.loc[undefined, "value"].isna().all()
    assert auc.loc[~undefined, "value"].between(0, 1).all()


def test_decision_curves_are_drawn_for_both_prospective_cohorts(chain: Any) -> None:
    figures = sorted(file.stem for file in (chain.data / "08_reporting/decision_curves").glob("*.png"))
    assert figures == ["prospective_a", "prospective_b"]
    curves = pd.read_csv(chain.data / "08_reporting/decision_curves.csv")
    assert curves["task"].nunique() == N_TASKS
    assert np.allclose(sorted(curves["threshold"].unique()), np.arange(5, 81) / 100)


def test_the_report_is_one_offline_file(chain: Any) -> None:
    html = (chain.data / "08_reporting/report.html").read_text()
    assert "Not a medical device" in html
    assert 'src="http' not in html
    assert html.count("<svg") >= 6
    assert html.count("download=") == html.count("<table")
    assert "different models" not in html and 'role="alert"' not in html


def test_the_assessment_has_a_page_of_its_own(chain: Any) -> None:
    html = (chain.data / "08_reporting/assessment.html").read_text()
    assert "Not a medical device" in html and 'src="http' not in html
    assert html.count("<svg") >= 3
    assert "Saliency" not in html and "epoch" not in html
    model = json.loads((chain.data / "08_reporting/model_card.json").read_text())["model_id"]
    assert f"hyperct, {model}" in html and "of the predictions" in html
    assert "known to its author alone" not in html  # recalibrated with this model's own calibration


def test_new_scans_get_predictions_and_saliency(chain: Any) -> None:
    predictions = pd.read_csv(chain.data / "infer/predictions.csv")
    fitted = json.loads((chain.data / "06_models/best/calibration.json").read_text())["tasks"]
    of_task = predictions.dropna(subset="task").groupby("task")["threshold_youden"].first()
    assert of_task.dropna().to_dict() == {
        task: pytest.approx(found["threshold_youden"])
        for task, found in fitted.items()
        if found["threshold_youden"] is not None
    }
    scored = predictions.dropna(subset="task")
    assert scored["probability_calibrated"].notna().any()
    assert scored.groupby("study_key").size().eq(N_TASKS).all()
    assert predictions.loc[predictions["task"].isna(), "reason_codes"].notna().all()
    assert len(list((chain.data / "infer/saliency").glob("*.nii.gz"))) == 10 * N_TASKS


def test_scores_of_infer_equal_those_of_predict(chain: Any) -> None:
    keys = ["study_key", "task"]
    known = table(chain, "07_model_output/predictions.parquet").set_index(keys)["probability"]
    new = pd.read_csv(chain.data / "infer/predictions.csv").dropna(subset="task").set_index(keys)["probability"]
    both = known.index.intersection(new.index)
    assert len(both) == len(known)
    np.testing.assert_allclose(new.loc[both], known.loc[both], atol=1e-5)


@pytest.mark.filterwarnings("ignore::UserWarning")  # MLflow's advice on type hints, coloured
def test_mlflow_links_the_evaluation_to_the_training(chain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{chain.folder}/mlflow.db")
    experiment = client.get_experiment_by_name("hyperct_pipeline")
    runs = {run.data.tags["pipeline"]: run for run in client.search_runs([experiment.experiment_id])}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    train, evaluate = runs["train"], runs["evaluate"]
    assert evaluate.data.tags["mlflow.parentRunId"] == train.info.run_id
    link = json.loads((chain.data / "06_models/best/mlflow.json").read_text())
    assert (link["run_id"], link["version"]) == (train.info.run_id, "1")
    (used,) = client.get_run(evaluate.info.run_id).inputs.model_inputs  # a search leaves them out
    assert used.model_id == link["model_id"]
    assert len(client.get_metric_history(train.info.run_id, "train_loss")) == 2
    assert any(name.startswith("auc/") for name in evaluate.data.metrics)

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{chain.folder}/mlflow.db")
    model = mlflow.pyfunc.load_model("models:/hyperct/1")
    volume = np.load(next((chain.data / "04_feature/volumes").glob("**/*.npy")), mmap_mode="r")
    probabilities = model.predict({"hu_zyx": np.asarray(volume)[None]})
    assert probabilities.shape == (1, N_TASKS)
    assert client.get_logged_model(link["model_id"]).tags == {}
    for file in (chain.folder / "mlartifacts").rglob("*"):
        if file.is_file():
            assert str(chain.folder).encode() not in file.read_bytes(), file.name
    artifacts = [file.suffix for file in (chain.folder / "mlartifacts").rglob("*") if file.is_file()]
    assert ".pkl" not in artifacts
    assert ".safetensors" in artifacts


def test_a_second_convert_does_no_work_twice(chain: Any) -> None:
    volumes = sorted((chain.data / "02_intermediate/nifti").glob("*.nii.gz"))
    before = {file: file.stat().st_mtime_ns for file in volumes}
    printed = chain.run("kedro", "run", "--pipeline=convert", "--runner=ThreadRunner")
    assert {file: file.stat().st_mtime_ns for file in volumes} == before
    assert "completed successfully" in printed


def test_a_wrong_parameter_stops_before_any_node(chain: Any) -> None:
    printed = chain.run("kedro", "run", "--pipeline=convert", "--params=convert.min_slicess=3", expect=1)
    assert "--params: convert.min_slicess: unknown key" in printed
    assert "Traceback" not in printed
    assert "Running node" not in printed


@pytest.mark.parametrize(
    ("pipeline", "parameter", "expected"),
    [
        ("convert", "dicom_root=nowhere", "The DICOM archive (dicom_root) is not a folder that can be reached"),
        ("harmonize", "labels.ct_rate=nowhere.csv", "The table 'labels.ct_rate' is not a file that can be reached"),
        ("harmonize", "task_catalogue.tasks.lung_nodul.group=radiological", "lung_nodul"),
        ("evaluate", "data_root=nowhere", "There is no model package here yet"),
    ],
)
def test_missing_input_ends_in_one_clear_message(chain: Any, pipeline: str, parameter: str, expected: str) -> None:
    printed = chain.run("kedro", "run", f"--pipeline={pipeline}", f"--params={parameter}", expect=1)
    assert expected in " ".join(printed.split())
    assert "Traceback" not in printed


def test_an_assessment_of_another_system_leaves_ours_alone(chain: Any, tmp_path: Path) -> None:
    ours = chain.data / "07_model_output/predictions.parquet"
    before = ours.read_bytes()
    table = pd.read_parquet(ours)
    theirs = table[table["split"] == "test"][["study_key", "patient_key", "task", "label", "probability"]]
    theirs.to_csv(tmp_path / "theirs.csv", index=False)
    table[table["split"] == "validation"][list(theirs)].to_csv(tmp_path / "validation.csv", index=False)
    given = f"predictions={tmp_path}/theirs.csv,validation={tmp_path}/validation.csv,data_root={tmp_path}/out"
    chain.run("kedro", "run", "--pipeline=assess", f"--params={given}")
    assert ours.read_bytes() == before
    client = pytest.importorskip("mlflow").MlflowClient(tracking_uri=f"sqlite:///{chain.folder}/mlflow.db")
    (run,) = client.search_runs(["1"], order_by=["start_time DESC"], max_results=1)
    used = {entry.dataset.name: json.loads(entry.dataset.profile)["rows"] for entry in run.inputs.dataset_inputs}
    assert used == {"predictions": len(theirs), "validation_predictions": int((table["split"] == "validation").sum())}
    key = ["task", "metric"]
    mine, new = (
        pd.read_csv(folder / "08_reporting/metrics.csv").set_index(key)["value"]
        for folder in (chain.data, tmp_path / "out")
    )
    shared = new.index.intersection(mine.index)
    assert len(shared) == len(new)
    np.testing.assert_allclose(new.loc[shared], mine.loc[shared], atol=1e-9)
