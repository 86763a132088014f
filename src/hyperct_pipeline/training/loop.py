"""The epoch loop: known tasks of each scan, AdamW, warm-up and cosine, a checkpoint per epoch.

Every random draw follows from (seed, epoch, study or step), so a run resumed at an epoch goes on exactly as if it had
never been stopped, and so does one on another number of processes, to the order of its sums.
"""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass

from hyperct_pipeline.errors import ConfigError
from hyperct_pipeline.model.hyperct import HyperCT
from hyperct_pipeline.model.update_size import update_sizes
from hyperct_pipeline.training.checkpoint import Checkpoint
from hyperct_pipeline.training.dataset import CTStudies, refuse_shared_patients
from hyperct_pipeline.training.history import refuse_other_training
from hyperct_pipeline.training.run import TrainingRun
from hyperct_pipeline.training.run_state import checkpoint_of, restore
from hyperct_pipeline.training.settings import FitConfig
from hyperct_pipeline.training.task_sampling import UNKNOWN

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Epoch:
    """What one epoch leaves behind."""

    name: str  # epoch_<number>, sorts by number
    metrics: dict[str, float | None]  # finite numbers; None where undefined, as the AUROC of a task of one class
    checkpoint: Checkpoint


def fit(
    model: HyperCT,
    train: CTStudies,
    validation: CTStudies,
    config: FitConfig,
    settings: str = "",
    resume: Checkpoint | None = None,
) -> Iterator[Epoch]:
    """Train the model in place, one Epoch at a time.

    Args:
        model: moved to the device of the config.
        settings: digest of everything the result depends on, kept in each checkpoint.
        resume: checkpoint of an earlier epoch under the same settings; training goes on after it.

    Raises:
        LeakageError: a patient stands in both splits.
        ConfigError: there is nothing to train on, CUDA was asked for and is not there, memory does not suffice, or
            `resume` is of another training.
        DivergenceError: the loss is not finite; checkpoints yielded before are sound.
    """
    refuse_shared_patients(train.studies, validation.studies)
    if not (train.studies.labels != UNKNOWN).any():
        raise ConfigError("no training study has a volume and a known label: nothing to train on")
    run = TrainingRun(model, train, validation, config)
    if resume is not None:
        refuse_other_training(resume, model.tasks, run.start, settings)
    first = restore(run, resume) if resume is not None else 1
    for number in range(first, config.epochs + 1):
        if run.stopping.is_over:
            logger.info("no better validation in %d turns: training stops after epoch %d", config.patience, number - 1)
            return
        started = time.monotonic()
        metrics = run.epoch(number)
        seconds = time.monotonic() - started
        metrics |= {"seconds": seconds, "scans_per_s": len(train) / seconds}
        if len(validation) and (number % config.validation_every == 0 or number == config.epochs):
            metrics |= run.validate(number)
        metrics |= update_sizes(model)
        run.progress.tell_epoch(number, metrics)
        yield Epoch(f"epoch_{number:03d}", metrics, checkpoint_of(run, number, settings, metrics))
