"""Training in several processes, on one node or many, from within the process that asks for it.

torch's elastic agent (`torch.distributed.run`, a process of its own because it needs the signals of a main thread)
starts the workers and meets the agents of other nodes at the rendezvous. A worker is a Python process
(`python -m hyperct_pipeline.training.worker FOLDER`) that imports the training core and nothing else. What it needs
stands in the folder as JSON and safetensors. Process 0 leaves each epoch there, and this process hands it on, as if it
had trained itself.
"""

import json
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from hyperct_pipeline.errors import ConfigError, HyperctError, LeakageError, PackageError, StoreError, WeightsError
from hyperct_pipeline.model.backbone import build_backbone
from hyperct_pipeline.model.hyperct import HyperCT
from hyperct_pipeline.training import worker
from hyperct_pipeline.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from hyperct_pipeline.training.device import device_of
from hyperct_pipeline.training.divergence import DivergenceError
from hyperct_pipeline.training.job import Job, write_job
from hyperct_pipeline.training.loop import Epoch, fit
from hyperct_pipeline.training.settings import FitConfig

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.2
_PATIENCE_S = 30.0  # between asking the workers to end and ending them
_KNOWN_ERRORS: dict[str, type[HyperctError]] = {
    kind.__name__: kind for kind in (ConfigError, DivergenceError, LeakageError, PackageError, StoreError, WeightsError)
}


class WorkerError(HyperctError):
    """A training process died without a message of its own."""


def refuse_processes(config: FitConfig, pipeline: str) -> None:
    """Raises ConfigError where several processes are asked for and the pipeline trains in one."""
    if config.n_processes * config.n_nodes > 1:
        raise ConfigError(
            f"fit.n_processes is {config.n_processes} and fit.n_nodes is {config.n_nodes}, but `{pipeline}` trains in "
            "one process: set both to 1 for it"
        )


def fit_job(job: Job, resume: Checkpoint | None = None) -> Iterator[Epoch]:
    """Train here, or in as many processes as the job asks for; arguments and errors as `fit` has them."""
    if resume is not None and int(resume.state["epoch"]) >= job.config.epochs:
        job = replace(job, config=replace(job.config, n_processes=1, n_nodes=1, node_rank=0))  # nothing is left to do
    if job.config.n_processes * job.config.n_nodes > 1:
        yield from fit_in_processes(job, resume)
        return
    model = HyperCT(build_backbone(job.backbone), job.tasks, job.model)
    yield from fit(model, job.train, job.validation, job.config, job.settings, resume)


def fit_in_processes(job: Job, resume: Checkpoint | None = None) -> Iterator[Epoch]:
    """`fit` in `n_processes` processes on each of `n_nodes` nodes, at the same global batch.

    Only node 0 yields epochs; on the others the iterator ends when training has.

    Raises:
        HyperctError: what a worker raised, with its message; WorkerError where it died without one.
        ConfigError: fewer CUDA devices than processes, or nodes that do not train the same thing.
    """
    config = job.config
    if device_of(config.device).type == "cuda" and torch.cuda.device_count() < config.n_processes:
        raise ConfigError(f"fit.n_processes is {config.n_processes}, but torch sees {torch.cuda.device_count()} GPUs")
    with tempfile.TemporaryDirectory(prefix="hyperct-training-") as name:
        folder = Path(name)
        write_job(folder, job)
        if resume is not None:
            save_checkpoint(folder / worker.RESUME, resume)
        seen: set[str] = set()
        agent = subprocess.Popen(_command(job, folder))
        try:
            while agent.poll() is None:
                time.sleep(_LOOK_EVERY_S)
                yield from _new_epochs(folder, seen)
        finally:  # an interrupted training leaves no process behind
            _end(agent)
        yield from _new_epochs(folder, seen)
        _refuse_failure(folder, agent.returncode)
        if config.node_rank > 0:
            logger.info("node %d of %d has done its share of the training", config.node_rank, config.n_nodes)


def _command(job: Job, folder: Path) -> list[str]:
    """torch's elastic agent, which starts the workers of this node and ends them all when one fails."""
    config = job.config
    meeting = ["--standalone", "--local-addr=127.0.0.1"]
    if config.n_nodes > 1:
        meeting = [
            "--rdzv-backend=static",  # the ranks are told: node 0 must be the one that writes
            f"--rdzv-endpoint={config.rendezvous}",
            f"--node-rank={config.node_rank}",
        ]
    numbers = [f"--nnodes={config.n_nodes}", f"--nproc-per-node={config.n_processes}", "--max-restarts=0"]
    return [sys.executable, "-m", "torch.distributed.run", *numbers, *meeting, "-m", worker.__name__, str(folder)]


def _end(agent: subprocess.Popen[bytes]) -> None:
    if agent.poll() is None:
        agent.terminate()
        try:
            agent.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            agent.kill()
            agent.wait()


def _refuse_failure(folder: Path, code: int) -> None:
    """Raise what stopped a worker."""
    failure = folder / worker.FAILURE
    if failure.is_file():
        told = json.loads(failure.read_text())
        raise _KNOWN_ERRORS.get(told["kind"], WorkerError)(told["message"])
    if code != 0:
        raise WorkerError(f"a training process has died (the agent ended with {code}); its last words are in the log")


def _new_epochs(folder: Path, seen: set[str]) -> Iterator[Epoch]:
    for found in sorted(folder.glob("epoch_*")):
        if found.name not in seen:
            seen.add(found.name)
            checkpoint = load_checkpoint(found)
            yield Epoch(found.name, checkpoint.state["metrics"], checkpoint)
