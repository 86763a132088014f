"""The epoch loop: known tasks of each scan, AdamW, warm-up and cosine, a checkpoint per epoch.

Every random draw follows from (seed, epoch, study or step), so a run resumed at an epoch goes on exactly as if it had
never been stopped, and so does one on another number of processes, to the order of its sums.
"""

import contextlib
import logging
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hyperct_pipeline.errors import ConfigError, HyperctError
from hyperct_pipeline.model.hyperct import HyperCT
from hyperct_pipeline.model.precision import matmul_precision
from hyperct_pipeline.model.update_size import update_sizes
from hyperct_pipeline.training import processes
from hyperct_pipeline.training.checkpoint import Checkpoint
from hyperct_pipeline.training.dataset import DROPOUT, Batch, CTStudies, refuse_shared_patients, stream
from hyperct_pipeline.training.device import device_of
from hyperct_pipeline.training.history import refuse_other_training, start_digest
from hyperct_pipeline.training.losses import TaskLoss
from hyperct_pipeline.training.optimisation import MovingAverage, Optimiser
from hyperct_pipeline.training.resources import chosen_micro_batch
from hyperct_pipeline.training.settings import FitConfig
from hyperct_pipeline.training.steps import Part, Step, steps_of_epoch, usable_studies
from hyperct_pipeline.training.task_sampling import UNKNOWN
from hyperct_pipeline.training.validation import score, validation_metrics

__all__ = ["DivergenceError", "Epoch", "FitConfig", "fit"]

logger = logging.getLogger(__name__)

_LOG_EVERY_S = 10.0
_LOSS = "loss."  # prefix of what the loss learns


class DivergenceError(HyperctError):
    """The loss or its gradient is NaN or infinite."""


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
    run = _Run(model, train, validation, config)
    if resume is not None:
        refuse_other_training(resume, model.tasks, run.start, settings)
    first = run.restore(resume) if resume is not None else 1
    for number in range(first, config.epochs + 1):
        if run.is_patient_enough():
            logger.info("no better validation in %d turns: training stops after epoch %d", config.patience, number - 1)
            return
        started = time.monotonic()
        metrics = run.epoch(number)
        seconds = time.monotonic() - started
        metrics |= {"seconds": seconds, "scans_per_s": len(train) / seconds}
        if len(validation) and (number % config.validation_every == 0 or number == config.epochs):
            metrics |= run.validate(number)
        metrics |= update_sizes(model)
        _log_epoch(number, config.epochs, metrics)
        yield Epoch(f"epoch_{number:03d}", metrics, run.checkpoint(number, settings, metrics))


class _Run:
    """Model, optimiser and data of one run of `fit`."""

    def __init__(self, model: HyperCT, train: CTStudies, validation: CTStudies, config: FitConfig) -> None:
        self.device = device_of(config.device)
        self.model, self.train, self.validation, self.config = model.to(self.device), train, validation, config
        self.start = start_digest(model)
        model.precision, model.checkpointing = config.precision, config.checkpointing
        if config.compile:
            model.compile_blocks()
        for studies in (train, validation):
            studies.pin = self.device.type == "cuda"
        self.loss = TaskLoss(config, train.studies.labels).to(self.device)
        own = {_LOSS + name: parameter for name, parameter in self.loss.named_parameters()}
        self.parameters = model.trainable_parameters() | own
        processes.same_everywhere(self.parameters.values())
        self.steps_per_epoch = math.ceil(len(usable_studies(train.studies.labels)) / config.batch_size)
        self.optimiser = Optimiser(self.parameters, config, config.epochs * self.steps_per_epoch)
        trained = model.trainable_parameters()
        self.average = None if config.ema_decay is None else MovingAverage(trained, config.ema_decay)
        self.micro_batch_size = chosen_micro_batch(model, train, config, self.device, processes.n_processes())
        if model.design.frozen_features:
            for studies in (train, validation):
                studies.keep_features(lambda x, mask: model.features(x), self.device, config.validation_batch_size)
        self.best: float | None = None
        self.turns_without_better = 0
        self.told = False  # which tasks are not evaluable
        self.started, self.logged, self.steps_done = time.monotonic(), time.monotonic(), 0

    def epoch(self, number: int) -> dict[str, float | None]:
        """One pass over the usable studies; mean loss over drawn pairs and per task, and the last learning rate.

        The loss of a task that no pair was drawn for is None.
        """
        steps = list(
            steps_of_epoch(
                self.train.studies, self.config, number, self.micro_batch_size, processes.rank(),
                processes.n_processes(), self.model.design.shuffles_embeddings,
            )
        )  # fmt: skip
        self.model.train()
        self.optimiser.begin_epoch()
        batches = self.train.chunks([part.numbers for step in steps for part in step.parts], number)
        # per task: sum of losses and number of pairs
        totals = torch.zeros(2, len(self.model.tasks), device=self.device)
        lr = 0.0
        with matmul_precision(self.config.precision), _kept_random_state(self.device):
            for step in steps:
                lr = self.optimiser.set_lr((number - 1) * self.steps_per_epoch + step.number)
                self._step(step, batches, number, totals)
                if time.monotonic() - self.logged > _LOG_EVERY_S:
                    self._refuse_divergence(number, steps)
                    self._log_progress(number, step.number)
        self._refuse_divergence(number, steps)
        sums, counts = processes.summed(totals).double().cpu().numpy()
        means = [float(s / n) if n else None for s, n in zip(sums, counts, strict=True)]
        self.loss.end_epoch(means)
        per_task = {f"train_loss/{task}": mean for task, mean in zip(self.model.tasks, means, strict=True)}
        return {"train_loss": float(sums.sum() / counts.sum()), "lr": lr, **per_task}

    def _step(self, step: Step, batches: Iterator[Batch], epoch: int, totals: Tensor) -> None:
        """Forward and backward over all parts of a step, then one update. Nothing here waits for the device."""
        seed = int(stream(self.config.seed, DROPOUT, epoch, step.number).integers(2**62))
        step_loss = torch.zeros((), device=self.device)
        for part in step.parts:
            batch = next(batches).to(self.device)
            # the same dropout in every part and process: all of them generate the adapters of all tasks of the step
            torch.manual_seed(seed)
            losses, entropy = self._losses(batch, part, step)
            loss = losses.sum() / step.n_pairs
            torch.autograd.backward(loss)
            step_loss += loss.detach()
            task = part.task.to(self.device, non_blocking=True)
            totals[0].index_add_(0, task, entropy.detach())
            totals[1].index_add_(0, task, torch.ones_like(entropy))
        processes.sum_gradients(self.parameters.values())
        self.optimiser.step(step_loss)
        if self.average is not None:
            self.average.update()
        self.steps_done += 1

    def _losses(self, batch: Batch, part: Part, step: Step) -> tuple[Tensor, Tensor]:
        asked, distinct = part.task, step.tasks
        if step.embedding_of is not None:  # the shuffled control: adapters of another task
            asked = torch.from_numpy(step.embedding_of[asked.numpy()])
            distinct = np.unique(step.embedding_of[distinct])
        if self.train.features is not None:
            logits = self.model.logits_of_features(batch.images, batch.mask, asked, part.scan)
        else:
            images = self.train.normalise(batch.images)
            logits = self.model(images, batch.mask, asked, part.scan, torch.from_numpy(distinct))
        task, target = (t.to(self.device, non_blocking=True) for t in (part.task, part.target))
        losses: tuple[Tensor, Tensor] = self.loss(logits, target, task)
        return losses

    def validate(self, number: int) -> dict[str, float | None]:
        """Loss and AUROC of the validation studies, by the averaged weights where there are any."""
        if self.average is not None:
            self.average.swap()
        logits = score(self.model, self.validation, self.config.validation_batch_size, self.device)
        if self.average is not None:
            self.average.swap()
        if not np.isfinite(logits).all():
            raise DivergenceError(f"epoch {number}: validation logits are not finite; lower fit.lr")
        labels = self.validation.studies.labels
        self._tell_not_evaluable(labels)
        metrics = validation_metrics(labels, logits, self.model.tasks, self.config.min_class_count)
        loss = metrics.get("validation_loss")
        value = metrics.get("validation_auroc", None if loss is None else -loss)
        if value is not None and (self.best is None or value > self.best):
            self.best, self.turns_without_better = value, 0
        else:
            self.turns_without_better += 1
        return metrics

    def _tell_not_evaluable(self, labels: NDArray[np.int8]) -> None:
        """Name the tasks that validation cannot judge, once."""
        least = self.config.min_class_count
        rare = (np.minimum((labels == 1).sum(axis=0), (labels == 0).sum(axis=0)) < least).nonzero()[0]
        if len(rare) and not self.told:
            named = ", ".join(self.model.tasks[number] for number in rare)
            logger.warning("%d tasks are not evaluable, fewer than %d validation studies of a class: %s",
                           len(rare), least, named)  # fmt: skip
        self.told = True

    def is_patient_enough(self) -> bool:
        """Whether validation has not become better for `patience` turns."""
        return self.config.patience is not None and self.turns_without_better >= self.config.patience

    def _refuse_divergence(self, epoch: int, steps: list[Step]) -> None:
        bad = self.optimiser.first_bad_step()
        if bad is None:
            return
        keys = [self.train.studies.study_keys[number] for number in steps[bad].studies]
        tasks = sorted(self.model.tasks[number] for number in steps[bad].tasks)
        sound = "The checkpoint of the epoch before is sound" if epoch > 1 else "There is no checkpoint yet"
        raise DivergenceError(
            f"the loss or its gradient is not finite in epoch {epoch}, step {bad + 1}; tasks {', '.join(tasks)}; "
            f"studies {', '.join(keys)}. {sound}; lower fit.lr or fit.clip_norm"
        )

    def _log_progress(self, epoch: int, step: int) -> None:
        self.logged = time.monotonic()
        rate = self.steps_done / (self.logged - self.started)
        left = (self.config.epochs * self.steps_per_epoch - (epoch - 1) * self.steps_per_epoch - step - 1) / rate
        logger.info(
            "epoch %d of %d, step %d of %d, %.1f steps per second, %.0f s left",
            epoch, self.config.epochs, step + 1, self.steps_per_epoch, rate, left,
        )  # fmt: skip

    def checkpoint(self, epoch: int, settings: str, metrics: Mapping[str, float | None]) -> Checkpoint:
        """A copy of the trained weights, their average and the optimiser, on the CPU."""
        state: dict[str, Any] = {
            "epoch": epoch,
            "settings": settings,
            "tasks": list(self.model.tasks),
            "start": self.start,
            "metrics": dict(metrics),
            "best": self.best,
            "turns_without_better": self.turns_without_better,
            "past_losses": self.loss.past,
            "average_steps": self.average.steps if self.average else 0,
        }
        average = self.average.values if self.average else {}
        return Checkpoint(_copies(self.parameters), self.optimiser.moments(), state, _copies(average))

    def restore(self, checkpoint: Checkpoint) -> int:
        """Take everything over that training depends on; the number of the epoch that comes next."""
        load_trained(self.model, Checkpoint(checkpoint.weights, {}, {}))
        with torch.no_grad():
            for name, parameter in self.loss.named_parameters():
                parameter.copy_(checkpoint.weights[_LOSS + name])
        self.optimiser.restore(checkpoint.optimiser)
        state = checkpoint.state
        self.best, self.turns_without_better = state.get("best"), int(state.get("turns_without_better", 0))
        self.loss.restore(state.get("past_losses", []))
        if self.average is not None:
            self.average.restore(checkpoint.average, int(state["average_steps"]))
        return int(state["epoch"]) + 1


@torch.no_grad()
def load_trained(model: HyperCT, checkpoint: Checkpoint) -> None:
    """Copy the trained weights of a checkpoint into the model, averaged ones where there are any.

    Raises ConfigError when they are not the model's own.
    """
    parameters = model.trainable_parameters()
    weights = checkpoint.average or {k: v for k, v in checkpoint.weights.items() if not k.startswith(_LOSS)}
    expected = {name: tuple(value.shape) for name, value in parameters.items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    if expected != found:
        differing = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        raise ConfigError(f"the checkpoint is of another model: {len(differing)} tensors differ, e.g. {differing[:3]}")
    for name, value in weights.items():
        parameters[name].copy_(value)


def _copies(tensors: Any) -> dict[str, Tensor]:
    return {name: value.detach().to("cpu", copy=True) for name, value in tensors.items()}


@contextlib.contextmanager
def _kept_random_state(device: torch.device) -> Iterator[None]:
    """Dropout draws from torch's global generator: seeded in each step, and put back after the epoch."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


def _log_epoch(number: int, n_epochs: int, metrics: Mapping[str, float | None]) -> None:
    auroc = metrics.get("validation_auroc")
    logger.info(
        "epoch %d of %d: train loss %.4f, mean validation AUROC %s, %.1f scans per second",
        number, n_epochs, metrics["train_loss"], "-" if auroc is None else f"{auroc:.3f}", metrics["scans_per_s"],
    )  # fmt: skip
