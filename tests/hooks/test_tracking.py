"""One true MLflow run per kedro run; a server that is down costs a warning."""

import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from kedro.io import DatasetError
from matplotlib.figure import Figure

from hyperct_pipeline.errors import LabelTableError
from hyperct_pipeline.hooks import tracked_data
from hyperct_pipeline.hooks.tracked_data import TrackedRun, flat_parameters
from hyperct_pipeline.hooks.tracking import TrackingHook, reachable

mlflow = pytest.importorskip("mlflow")

CATALOG: dict[str, Any] = {
    "metrics": {"metadata": {"mlflow": {"kind": "metrics"}}},
    "history": {"metadata": {"mlflow": {"kind": "history"}}},
    "curve": {"metadata": {"mlflow": {"kind": "figure", "to": "figures"}}},
    "index": {"metadata": {"mlflow": {"kind": "dataset"}}},
    "given@csv": {"metadata": {"mlflow": {"kind": "input"}}},
    "silent": {"type": "MemoryDataset"},
}


@pytest.fixture
def hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrackingHook:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    hook = TrackingHook()
    hook.after_context_created(SimpleNamespace(project_path=tmp_path))
    parameters = {"fit": {"lr": 0.1, "crop": (3, 4)}, "unused": {"x": 1}}
    hook.after_catalog_created(conf_catalog=CATALOG, parameters={"parameters": parameters})
    return hook


def start(hook: TrackingHook) -> str:
    pipeline = SimpleNamespace(inputs=lambda: {"params:fit", "index"})
    hook.before_pipeline_run({"pipeline_name": "train", "env": None}, pipeline, SimpleNamespace())
    assert hook._run is not None
    return hook._run.run_id


def test_a_run_carries_what_the_catalog_asks_for(hook: TrackingHook) -> None:
    run_id = start(hook)
    hook.after_dataset_saved("metrics", pd.DataFrame({"task": ["a", "b"], "metric": ["auc"] * 2, "value": [0.7, None]}))
    hook.after_dataset_saved("history", {"epoch_001": {"loss": 0.5}})
    hook.after_dataset_saved("history", {"epoch_002": {"loss": 0.25, "auc": float("nan")}})
    hook.after_dataset_saved("curve", Figure())
    hook.after_dataset_saved("index", pd.DataFrame({"study_key": ["k"], "y": [1]}))
    hook.after_dataset_saved("silent", 1)
    hook.after_pipeline_run()
    client = mlflow.MlflowClient()
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"fit.lr": "0.1", "fit.crop": "[3, 4]"}
    assert run.data.metrics == {"auc/a": 0.7, "loss": 0.25}
    assert [(m.step, m.value) for m in client.get_metric_history(run_id, "loss")] == [(1, 0.5), (2, 0.25)]
    assert {item.path for item in client.list_artifacts(run_id)} == {"configuration.json", "figures"}
    assert run.inputs.dataset_inputs[0].dataset.name == "index"
    assert json.loads(run.inputs.dataset_inputs[0].dataset.profile)["rows"] == 1


def test_a_table_that_was_given_leaves_a_fingerprint(hook: TrackingHook) -> None:
    run_id = start(hook)
    hook.after_dataset_loaded("given@csv", pd.DataFrame({"study_key": ["a", "b"], "DOE^JOHN": 1}))
    hook.after_dataset_loaded("given@csv", None)  # an optional table that is not there
    hook.after_dataset_loaded("index", pd.DataFrame({"study_key": ["k"]}))  # is logged by the run that makes it
    hook.after_dataset_saved("given@csv", pd.DataFrame({"study_key": ["c"]}))
    hook.after_pipeline_run()
    (used,) = (entry.dataset for entry in mlflow.MlflowClient().get_run(run_id).inputs.dataset_inputs)
    assert (used.name, json.loads(used.profile)) == ("given", {"rows": 2, "columns": ["study_key"]})
    assert len(used.digest) == 16


def test_a_model_of_another_store_does_not_end_the_tracking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    link = {"run_id": "0" * 32, "model_id": "m-" + "0" * 32, "version": "3"}
    run = TrackedRun.create("e", tmp_path, {"pipeline": "evaluate"}, link)
    assert "does not know the model" in caplog.text
    run.log("metrics", {"kind": "metrics"}, pd.DataFrame({"task": ["a"], "metric": "auc", "value": 0.5}))
    found = mlflow.MlflowClient().get_run(run.run_id)
    assert found.data.metrics == {"auc/a": 0.5} and "model.version" not in found.data.tags


def test_tasks_whose_names_mlflow_would_merge_stay_apart(hook: TrackingHook) -> None:
    run_id = start(hook)
    table = pd.DataFrame({"task": ["a(b", "a[b", "a_b"], "metric": "auc", "value": [0.5, 0.6, 0.7]})
    hook.after_dataset_saved("metrics", table)
    hook.after_pipeline_run()
    found = mlflow.MlflowClient().get_run(run_id).data.metrics
    assert found == {"auc/a_b": 0.5, "auc/a_b_2": 0.6, "auc/a_b_3": 0.7}


def test_a_document_of_the_model_is_put_beside_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    run = TrackedRun.create("e", tmp_path, {"pipeline": "predict"}, {})
    client = mlflow.MlflowClient()
    model = client.create_logged_model(run.experiment_id, "hyperct", source_run_id=run.run_id)
    client.create_registered_model("hyperct")
    version = client.create_model_version("hyperct", f"models:/{model.model_id}", run.run_id, model_id=model.model_id)
    link = {"run_id": run.run_id, "model_id": model.model_id, "version": str(version.version)}
    entry = {"kind": "json", "to": "evaluation", "model_version": True}
    linked = TrackedRun(run.run_id, run.experiment_id, link)
    linked.log("calibration", entry, {"split_digest": "abc", "tasks": {}})
    assert client.get_model_version("hyperct", link["version"]).tags == {"calibration.split_digest": "abc"}
    assert "calibration.json" in {item.path for item in client.list_logged_model_artifacts(model.model_id)}
    run.log("calibration", entry, {"split_digest": "other"})  # without a model there is nothing to add to
    assert client.get_model_version("hyperct", link["version"]).tags == {"calibration.split_digest": "abc"}


def test_the_same_weights_are_registered_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")

    def save(target: Path, folder: Path, package: Any) -> None:
        target.mkdir()
        (target / "MLmodel").write_text(package.model_id)

    monkeypatch.setattr(tracked_data, "_save_pyfunc", save)
    client, links, runs = mlflow.MlflowClient(), [], []
    for weights in ("aaaa", "aaaa", "bbbb", "aaaa"):  # the last one is not the latest version any more
        run = TrackedRun.create("e", tmp_path, {"pipeline": "fit"}, {})
        links.append(run.log_model(tmp_path, SimpleNamespace(model_id=weights, tasks=("a",))))
        run.log("history", {"kind": "history"}, {"epoch_001": {"loss": 0.5}})
        run.end("FINISHED")
        runs.append(run.run_id)
    assert [link["version"] for link in links] == ["1", "1", "2", "3"]
    assert links[1] == links[0] and [link["run_id"] for link in links] == [runs[0], runs[0], runs[2], runs[3]]
    versions = client.search_model_versions("name = 'hyperct'")
    assert {v.version: v.tags["weights.digest"] for v in versions} == {1: "aaaa", 2: "bbbb", 3: "aaaa"}
    assert {(v.tags["pipeline"], v.tags["tasks"]) for v in versions} == {("fit", "1")}
    assert {v.tags["model.id"] for v in versions} == {link["model_id"] for link in links}
    (used,) = client.get_run(runs[1]).inputs.model_inputs
    assert used.model_id == links[0]["model_id"]


def test_tags_name_neither_user_nor_path(hook: TrackingHook, tmp_path: Path) -> None:
    tags = mlflow.MlflowClient().get_run(start(hook)).data.tags
    hook.on_pipeline_error(LabelTableError("x"))
    text = json.dumps(tags)
    assert str(tmp_path) not in text
    assert "mlflow.user" not in tags
    assert "mlflow.source.name" not in tags


def test_a_failed_run_is_failed(hook: TrackingHook) -> None:
    run_id = start(hook)
    wrapped = DatasetError("of kedro")
    wrapped.__cause__ = LabelTableError("jane_doe.csv")
    hook.on_pipeline_error(wrapped)
    run = mlflow.MlflowClient().get_run(run_id)
    assert (run.info.status, run.data.tags["error"]) == ("FAILED", "LabelTableError")
    assert "jane_doe" not in json.dumps(run.data.tags)


def test_a_server_that_is_down_costs_a_warning(
    hook: TrackingHook, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # the discard port: nobody listens
    began = time.monotonic()
    with caplog.at_level(logging.WARNING):
        hook.before_pipeline_run({"pipeline_name": "train"}, SimpleNamespace(inputs=set), SimpleNamespace())
        hook.after_dataset_saved("history", {"epoch_001": {"loss": 0.5}})
        hook.after_pipeline_run()
    assert time.monotonic() - began < 15
    assert "not tracked" in caplog.text
    assert not reachable("http://127.0.0.1:9")
    assert not reachable("postgresql+psycopg2://user@127.0.0.1:9/mlflow")


def test_a_call_that_fails_costs_the_tracking_and_not_the_work(
    hook: TrackingHook, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run_id = start(hook)
    monkeypatch.setattr(hook._run, "log", lambda *_: {}["fault"])
    with caplog.at_level(logging.WARNING):
        hook.after_dataset_saved("history", {"epoch_001": {"loss": 0.5}})
    assert "(KeyError): the rest of this run is not tracked" in caplog.text
    hook.after_pipeline_run()
    assert mlflow.MlflowClient().get_run(run_id).info.status == "FAILED"


def test_a_store_named_relative_to_the_project_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    hook = TrackingHook()
    hook.after_context_created(SimpleNamespace(project_path=tmp_path))
    hook.after_catalog_created(conf_catalog=CATALOG, parameters={"parameters": {"fit": {}}})
    run = mlflow.MlflowClient().get_run(start(hook))
    hook.after_pipeline_run()
    assert run.info.artifact_uri.startswith((tmp_path / "mlartifacts").as_uri())


@pytest.mark.parametrize(
    ("runner", "name"),
    [
        (None, "SequentialRunner"),
        ("ThreadRunner", "ThreadRunner"),
        ("kedro.runner.thread_runner.ThreadRunner", "ThreadRunner"),
        ("<kedro.runner.sequential_runner.SequentialRunner object at 0x7f1b665c9a10>", "SequentialRunner"),
    ],
)
def test_the_runner_is_tagged_by_its_class(hook: TrackingHook, runner: str | None, name: str) -> None:
    pipeline = SimpleNamespace(inputs=lambda: {"params:fit"})
    hook.before_pipeline_run({"pipeline_name": "train", "runner": runner}, pipeline, SimpleNamespace())
    assert hook._run is not None
    tags = mlflow.MlflowClient().get_run(hook._run.run_id).data.tags
    hook.after_pipeline_run()
    assert tags["kedro.runner"] == name


@pytest.mark.parametrize(
    "path", ["/home/doe/w.pth", "~/doe/w.pth", "../doe/w.pth", "C:\\Users\\doe\\w.pth", "file:///doe/w.pth"]
)
def test_of_a_path_only_the_name_is_logged(hook: TrackingHook, path: str) -> None:
    hook._parameters = {"fit": {"file": path, "weights": "doe/w.pth", "pattern": r"B[5-9]\d", "text": "w/o contrast"}}
    run_id = start(hook)
    hook.after_pipeline_run()
    assert mlflow.MlflowClient().get_run(run_id).data.params == {
        "fit.file": "w.pth",
        "fit.weights": "w.pth",
        "fit.pattern": r"B[5-9]\d",
        "fit.text": "w/o contrast",
    }


@pytest.mark.slow
@pytest.mark.parametrize(("number", "exit_status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_process_leaves_a_killed_run(tmp_path: Path, number: int, exit_status: int) -> None:
    program = textwrap.dedent("""
        import signal, sys, time
        from pathlib import Path
        from types import SimpleNamespace
        from hyperct_pipeline.hooks.tracking import TrackingHook
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it otherwise
        hook = TrackingHook()
        hook.after_context_created(SimpleNamespace(project_path=Path(sys.argv[1])))
        hook.after_catalog_created(conf_catalog={}, parameters={"parameters": {}})
        hook.before_pipeline_run({"pipeline_name": "train"}, SimpleNamespace(inputs=set), SimpleNamespace())
        print("run", hook._run.run_id, flush=True)
        time.sleep(60)
    """)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"MLFLOW_TRACKING_URI": uri},
    )
    assert process.stdout is not None
    run_id = next(line.split()[1] for line in process.stdout if line.startswith("run "))
    process.send_signal(number)
    code = process.wait(timeout=60)
    process.stdout.close()
    assert code in (exit_status, -number)
    assert mlflow.MlflowClient(tracking_uri=uri).get_run(run_id).info.status == "KILLED"


def test_nested_parameters_become_flat_names() -> None:
    assert flat_parameters({"a": {"b": 1, "c": [1, 2]}, "d": "x"}) == {"a.b": "1", "a.c": "[1, 2]", "d": "x"}
