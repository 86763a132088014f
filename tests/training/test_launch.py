"""Two gloo processes against one, at the same global batch."""

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hyperct_pipeline.errors import ConfigError, HyperctError, LeakageError, StoreError
from hyperct_pipeline.model.backbone import build_backbone
from hyperct_pipeline.model.hyperct import HyperCT
from hyperct_pipeline.training import launch, processes, worker
from hyperct_pipeline.training.dataset import CTStudies
from hyperct_pipeline.training.divergence import DivergenceError
from hyperct_pipeline.training.job import Job, read_job, write_job
from hyperct_pipeline.training.launch import WorkerError, fit_in_processes
from hyperct_pipeline.training.loop import fit
from hyperct_pipeline.training.settings import FitConfig

from .conftest import BACKBONE, DIGEST, MODEL, SLICES, TASKS

# 20 studies in batches of 19: the last batch is one study, and one process has nothing to do
FIT = FitConfig(
    epochs=2, batch_size=19, tasks_per_scan=2, lr=1e-4, clip_norm=1.0, device="cpu", n_processes=2, ema_decay=0.5
)


def job_of(train: CTStudies, validation: CTStudies, config: FitConfig = FIT) -> Job:
    return Job(BACKBONE, MODEL, TASKS, train, validation, config, "digest")


@pytest.mark.slow
def test_two_processes_equal_one(train: CTStudies, validation: CTStudies) -> None:
    alone = list(fit(HyperCT(build_backbone(BACKBONE), TASKS, MODEL), train, validation, replace(FIT, n_processes=1)))
    together = list(fit_in_processes(job_of(train, validation)))
    assert [epoch.name for epoch in together] == ["epoch_001", "epoch_002"]
    for one, two in zip(alone, together, strict=True):
        for name, value in one.checkpoint.weights.items():
            torch.testing.assert_close(two.checkpoint.weights[name], value, atol=2e-5, rtol=0, msg=name)
        assert two.metrics["train_loss"] == pytest.approx(one.metrics["train_loss"], rel=1e-5)
        assert two.metrics["validation_loss"] == pytest.approx(one.metrics["validation_loss"], rel=1e-4)
    (resumed,) = fit_in_processes(job_of(train, validation), together[0].checkpoint)
    for name, value in together[1].checkpoint.weights.items():
        assert torch.equal(resumed.checkpoint.weights[name], value), name


@pytest.mark.slow
def test_what_stops_a_worker_stops_the_launcher(train: CTStudies, validation: CTStudies) -> None:
    config = replace(FIT, lr=1e30, clip_norm=None, epochs=20)
    with pytest.raises(DivergenceError, match="epoch"):
        list(fit_in_processes(job_of(train, validation, config)))
    labels = np.full_like(train.studies.labels, -1)
    nothing = CTStudies(train.store, replace(train.studies, labels=labels), SLICES, DIGEST, seed=0)
    with pytest.raises(ConfigError, match="nothing to train on"):
        list(fit_in_processes(job_of(nothing, validation)))


@pytest.mark.slow
def test_an_interrupted_training_leaves_no_process_behind(train: CTStudies, validation: CTStudies) -> None:
    epochs = fit_in_processes(job_of(train, validation, replace(FIT, epochs=999)))
    next(epochs)
    epochs.close()  # as an exception in the loop around it does
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert not [line for line in left.splitlines() if f"{worker.__name__} " in line]


@pytest.mark.parametrize(
    ("raised", "expected"),
    [(LeakageError, LeakageError), (StoreError, StoreError), (ConfigError, ConfigError), (HyperctError, WorkerError)],
)
def test_an_error_of_a_worker_keeps_its_kind(
    tmp_path: Path, raised: type[HyperctError], expected: type[HyperctError]
) -> None:
    worker._tell(tmp_path, raised("what and where"))
    with pytest.raises(expected, match="what and where") as caught:
        launch._refuse_failure(tmp_path, 1)
    assert caught.type is expected


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (("digest", 2), None),
        (("other", 2), r"different settings or data \(digests \['digest', 'other'\]\)"),
        (("digest", 0), r"after different epochs \(\[2, 0\]\)"),
    ],
)
def test_nodes_that_train_something_else_are_refused(
    monkeypatch: pytest.MonkeyPatch, other: tuple[str, int], message: str | None
) -> None:
    def gather(found: list[tuple[str, int]], own: tuple[str, int]) -> None:
        found[:] = [own, other]

    processes.refuse_different("digest", 2)  # alone there is nobody to differ from
    monkeypatch.setattr(processes, "n_processes", lambda: 2)
    monkeypatch.setattr(processes.dist, "all_gather_object", gather)
    if message is None:
        processes.refuse_different("digest", 2)
        return
    with pytest.raises(ConfigError, match=message):
        processes.refuse_different("digest", 2)


def test_the_agent_is_told_the_rank_of_its_node(train: CTStudies, validation: CTStudies, tmp_path: Path) -> None:
    config = replace(FIT, n_nodes=3, node_rank=2, rendezvous="node0:29500")
    command = launch._command(job_of(train, validation, config), tmp_path)
    assert {"--rdzv-backend=static", "--rdzv-endpoint=node0:29500", "--node-rank=2", "--nnodes=3"} < set(command)


def test_more_processes_than_gpus(train: CTStudies, validation: CTStudies, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "device_of", lambda name: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match=r"fit\.n_processes is 2, but torch sees 1 GPUs"):
        next(fit_in_processes(job_of(train, validation)))


def test_a_job_comes_back_from_its_files(train: CTStudies, validation: CTStudies, tmp_path: Path) -> None:
    job = job_of(train, validation)
    write_job(tmp_path, job)
    found = read_job(tmp_path)
    for part in ("backbone", "model", "tasks", "config", "settings"):
        assert getattr(found, part) == getattr(job, part)
    assert found.train.studies.study_keys == train.studies.study_keys and found.train.seed == 0
    assert np.array_equal(found.train.studies.labels, train.studies.labels)
    assert np.array_equal(found.train.read(3, 2)[0], train.read(3, 2)[0])


def test_a_training_that_is_done_starts_no_process(
    train: CTStudies, validation: CTStudies, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(FIT, n_processes=1)
    (*_, last) = fit(HyperCT(build_backbone(BACKBONE), TASKS, MODEL), train, validation, config, "digest")
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a process was started"))
    nodes = replace(FIT, n_nodes=2, rendezvous="127.0.0.1:29500")
    assert list(launch.fit_job(job_of(train, validation, nodes), last.checkpoint)) == []
