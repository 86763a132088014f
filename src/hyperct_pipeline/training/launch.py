"""Training in several processes, on one node or many, from within the process that asks for it.

torch's elastic agent starts the workers and meets the agents of other nodes at the rendezvous. A worker is a Python
process of its own (`python -m hyperct_pipeline.training.worker FOLDER`) that imports the training core and nothing
else. What it needs stands in the folder as JSON and safetensors. Process 0 leaves each epoch there, and this process
hands it on, as if it had trained itself.
"""

import json
import logging
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import torch
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from hyperct_pipeline.errors import ConfigError
from hyperct_pipeline.model.backbone import build_backbone
from hyperct_pipeline.model.hyperct import HyperCT
from hyperct_pipeline.training import worker
from hyperct_pipeline.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from hyperct_pipeline.training.device import device_of
from hyperct_pipeline.training.job import Job, write_job
from hyperct_pipeline.training.loop import DivergenceError, Epoch, fit

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.2
_KNOWN_ERRORS = {"DivergenceError": DivergenceError}


def fit_job(job: Job, resume: Checkpoint | None = None) -> Iterator[Epoch]:
    """Train here, or in as many processes as the job asks for; arguments and errors as `fit` has them."""
    if job.config.n_processes * job.config.n_nodes > 1:
        yield from fit_in_processes(job, resume)
        return
    model = HyperCT(build_backbone(job.backbone), job.tasks, job.model)
    yield from fit(model, job.train, job.validation, job.config, job.settings, resume)


def fit_in_processes(job: Job, resume: Checkpoint | None = None) -> Iterator[Epoch]:
    """`fit` in `n_processes` processes on each of `n_nodes` nodes, at the same global batch.

    Only the node of process 0 yields epochs; on the others the iterator ends when training has.

    Raises:
        HyperctError: what a worker raised, with its message.
        ConfigError: fewer CUDA devices than processes.
    """
    config = job.config
    if device_of(config.device).type == "cuda" and torch.cuda.device_count() < config.n_processes:
        raise ConfigError(f"fit.n_processes is {config.n_processes}, but torch sees {torch.cuda.device_count()} GPUs")
    with tempfile.TemporaryDirectory(prefix="hyperct-training-") as name:
        folder = Path(name)
        write_job(folder, job)
        if resume is not None:
            save_checkpoint(folder / worker.RESUME, resume)
        launched = _Launch(job, folder)
        launched.start()
        seen: set[str] = set()
        while launched.is_alive():
            launched.join(_LOOK_EVERY_S)
            yield from _new_epochs(folder, seen)
        yield from _new_epochs(folder, seen)
        launched.refuse_failure()


class _Launch(threading.Thread):
    """The elastic agent, beside the thread that hands epochs on."""

    def __init__(self, job: Job, folder: Path) -> None:
        super().__init__(daemon=True)
        self._job, self._folder = job, folder
        self._error: BaseException | None = None

    def run(self) -> None:
        """Start the workers and wait for them."""
        config = self._job.config
        launch = LaunchConfig(
            min_nodes=config.n_nodes,
            max_nodes=config.n_nodes,
            nproc_per_node=config.n_processes,
            run_id=f"hyperct-{self._job.settings or 'training'}",
            rdzv_backend="c10d",
            rdzv_endpoint=config.rendezvous or "127.0.0.1:0",
            max_restarts=0,
            local_addr="127.0.0.1" if config.n_nodes == 1 else None,
        )
        try:
            elastic_launch(launch, sys.executable)("-m", worker.__name__, str(self._folder))
        except (ChildFailedError, RuntimeError, ValueError, OSError) as error:
            self._error = error

    def refuse_failure(self) -> None:
        """Raise what stopped a worker."""
        failure = self._folder / worker.FAILURE
        if failure.is_file():
            told = json.loads(failure.read_text())
            raise _KNOWN_ERRORS.get(told["kind"], ConfigError)(told["message"])
        if self._error is not None:
            raise self._error


def _new_epochs(folder: Path, seen: set[str]) -> Iterator[Epoch]:
    for found in sorted(folder.glob("epoch_*")):
        if found.name not in seen:
            seen.add(found.name)
            checkpoint = load_checkpoint(found)
            yield Epoch(found.name, checkpoint.state["metrics"], checkpoint)
