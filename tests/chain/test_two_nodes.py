"""A training on two nodes, as two `kedro run` on loopback, gives the weights of one."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from pydantic import TypeAdapter
from safetensors.torch import load_file

from hyperct_pipeline.labels.tasks import TaskCatalogueConfig, load_catalogue
from hyperct_pipeline.volumes.preprocessing import PreprocessConfig
from hyperct_pipeline.volumes.store import StoredVolume, VolumeStore

pytestmark = pytest.mark.slow

N_TRAIN, N_VALIDATION = 11, 6  # in batches of 5: the last one is a single study, and one node has nothing to do
FIT = "fit.epochs=2,fit.batch_size=5,fit.tasks_per_scan=2,fit.validation_every=1,fit.device=cpu"


def write_studies(data_root: Path, conf: Path) -> None:
    """Random volumes and labels as `preprocess` and `harmonize` leave them."""
    base = conf / "base"
    catalogue = yaml.safe_load((base / "parameters_tasks.yml").read_text())["task_catalogue"]
    tasks = load_catalogue(TypeAdapter(TaskCatalogueConfig).validate_python(catalogue)).ids
    raw = yaml.safe_load((base / "parameters_preprocess.yml").read_text())["preprocess"]
    preprocess = TypeAdapter(PreprocessConfig).validate_python(raw)
    assert preprocess.shape_zyx is not None
    store, rng = VolumeStore(data_root / "04_feature" / "volumes"), np.random.default_rng(0)
    keys = [f"s{number:02d}" for number in range(N_TRAIN + N_VALIDATION)]
    for key in keys:
        hu = rng.integers(-1000, 1000, preprocess.shape_zyx).astype(np.int16)
        store.put(key, StoredVolume(hu, np.eye(4), hu.shape, np.arange(len(hu)), preprocess.digest()))
    index = pd.DataFrame(
        {
            "study_key": keys,
            "patient_key": [f"p-{key}" for key in keys],
            "split": ["train"] * N_TRAIN + ["validation"] * N_VALIDATION,
            "volume": keys,
            "volume_sha256": keys,
        }
    ).astype("string")
    labels = {task: pd.array(rng.integers(0, 2, len(keys)), dtype="Int8") for task in tasks}
    (data_root / "05_model_input").mkdir()
    pd.concat([index, pd.DataFrame(labels)], axis=1).to_parquet(data_root / "05_model_input" / "study_index.parquet")


@pytest.fixture
def started() -> Iterator[list["subprocess.Popen[str]"]]:
    """Processes of a test, ended by their id whatever happens to it."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        if process.poll() is None:
            process.terminate()  # torch's agent ends its workers
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        assert process.stdout is not None
        process.stdout.close()


def kedro(clone: Any, started: list["subprocess.Popen[str]"], data_root: Path, *options: str) -> Any:
    """A `kedro run` of the pipeline fit that is not waited for."""
    parameters = ",".join([FIT, f"data_root={data_root}", *(o for o in options if not o.startswith("--"))])
    command = ["kedro", "run", "--pipelines=fit", *(o for o in options if o.startswith("--")), f"--params={parameters}"]
    # gloo's addresses are those of the host's name otherwise, which need not be reachable
    environment = clone.environment | {
        "GLOO_SOCKET_IFNAME": "lo",
        "OMP_NUM_THREADS": "1",
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
    }  # fmt: skip; the discard port: nothing is tracked
    process = subprocess.Popen(
        command, cwd=clone.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    started.append(process)
    return process


def end_of(process: Any) -> str:
    printed, _ = process.communicate(timeout=240)
    return str(printed)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_two_nodes_give_the_weights_of_one(clone: Any, tmp_path: Path, started: Any) -> None:
    alone, first, second = (tmp_path / name for name in ("alone", "node0", "node1"))
    for root in (alone, first, second):
        root.mkdir()
        write_studies(root, clone.folder / "conf")
    before = contents(second)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    nodes = ("fit.n_nodes=2", f"fit.rendezvous=127.0.0.1:{port}")
    runs = [
        kedro(clone, started, first, *nodes, "fit.node_rank=0"),
        # it has the same studies at a place of its own, where it must leave nothing
        kedro(clone, started, second, *nodes, "fit.node_rank=1", "--to-nodes=fit_hyperct"),
        kedro(clone, started, alone, "--to-nodes=fit_hyperct"),
    ]
    printed = [end_of(run) for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], "\n".join(printed)
    assert "node 1 of 2 has done its share of the training" in " ".join(printed[1].split())
    assert contents(second) == before
    for epoch in ("epoch_001", "epoch_002"):
        weights, expected = (
            load_file(root / "06_models" / "checkpoints" / epoch / "weights.safetensors") for root in (first, alone)
        )
        assert weights.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(weights[name], value, atol=2e-5, rtol=0, msg=name)
    assert (first / "06_models" / "best" / "model.safetensors").is_file()
    assert (first / "08_reporting" / "task_curves.png").is_file()
    histories = [{file.name for file in (root / "06_models/training_history").iterdir()} for root in (first, alone)]
    assert histories == [{"epoch_001.json", "epoch_002.json"}] * 2


def test_a_node_that_would_write_is_told_its_command(clone: Any, tmp_path: Path, started: Any) -> None:
    (tmp_path / "root").mkdir()
    write_studies(tmp_path / "root", clone.folder / "conf")
    nodes = ("fit.n_nodes=2", "fit.rendezvous=127.0.0.1:29500", "fit.node_rank=1")
    run = kedro(clone, started, tmp_path / "root", *nodes)
    printed = " ".join(end_of(run).split())
    assert run.returncode == 1 and "Traceback" not in printed
    assert "kedro run --pipelines=fit --to-nodes=fit_hyperct --params=...,fit.node_rank=1" in printed
    assert not (tmp_path / "root" / "06_models").exists()
