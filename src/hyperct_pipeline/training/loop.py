"""The epoch loop: one known task per scan and step, AdamW, warm-up and cosine, a checkpoint per epoch.

Every random draw follows from (seed, epoch, study), so a run resumed at an epoch goes on exactly as if it had never
been stopped.
"""

import contextlib
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from hyperct_pipeline.errors import ConfigError, HyperctError
from hyperct_pipeline.model.hyperct import HyperCT
from hyperct_pipeline.model.update_size import update_sizes
from hyperct_pipeline.training.checkpoint import Checkpoint
from hyperct_pipeline.training.dataset import DROPOUT, ORDER, TASKS, Batch, CTStudies, refuse_shared_patients, stream
from hyperct_pipeline.training.device import device_of
from hyperct_pipeline.training.settings import FitConfig
from hyperct_pipeline.training.task_sampling import UNKNOWN, draw_tasks
from hyperct_pipeline.training.validation import score, validation_metrics

__all__ = ["DivergenceError", "Epoch", "FitConfig", "fit"]

logger = logging.getLogger(__name__)

_LOG_EVERY_S = 10.0
_WEIGHT_LIMIT = 20.0  # of a positive under positive_weight: balanced; rarer tasks would only add noise


class DivergenceError(HyperctError):
    """The loss or its gradient is NaN or infinite."""


@dataclass(frozen=True, eq=False)
class Epoch:
    """What one epoch leaves behind."""

    name: str  # epoch_<number>, sorts by number
    metrics: dict[str, float]  # finite numbers only
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
        ConfigError: there is nothing to train on, or CUDA was asked for and is not there.
        DivergenceError: the loss is not finite; checkpoints yielded before are sound.
    """
    refuse_shared_patients(train.studies, validation.studies)
    if not (train.studies.labels != UNKNOWN).any():
        raise ConfigError("no training study has a volume and a known label: nothing to train on")
    run = _Run(model, train, config)
    first = run.restore(resume) if resume is not None else 1
    for number in range(first, config.epochs + 1):
        started = time.monotonic()
        metrics = run.epoch(number)
        metrics |= {"seconds": time.monotonic() - started}
        metrics["scans_per_s"] = len(train) / metrics["seconds"]
        if len(validation) and (number % config.validation_every == 0 or number == config.epochs):
            logits = score(model, validation, config.validation_batch_size, run.device)
            if not np.isfinite(logits).all():
                raise DivergenceError(f"epoch {number}: validation logits are not finite; lower fit.lr")
            metrics |= validation_metrics(validation.studies.labels, logits, model.tasks, config.min_class_count)
        metrics |= update_sizes(model)
        _log_epoch(number, config.epochs, metrics)
        yield Epoch(f"epoch_{number:03d}", metrics, run.checkpoint(number, settings, metrics))


class _Run:
    """Model, optimiser and data of one run of `fit`."""

    def __init__(self, model: HyperCT, train: CTStudies, config: FitConfig) -> None:
        self.device = device_of(config.device)
        self.model, self.train, self.config = model.to(self.device), train, config
        self.parameters = model.trainable_parameters()
        self.optimiser = torch.optim.AdamW(
            self.parameters.values(), lr=config.lr, betas=config.betas, weight_decay=config.weight_decay
        )
        # scans without a known label would only be read for nothing
        self.usable = np.flatnonzero((train.studies.labels != UNKNOWN).any(axis=1))
        self.steps_per_epoch = math.ceil(len(self.usable) / config.batch_size)
        self.positive_weight = torch.from_numpy(_positive_weights(train.studies.labels, config)).to(self.device)
        self.started, self.logged = time.monotonic(), time.monotonic()
        self.steps_done = 0

    def epoch(self, number: int) -> dict[str, float]:
        """One pass over the usable studies; mean loss over drawn pairs, and the learning rate at the end."""
        order = self.usable[stream(self.config.seed, ORDER, number).permutation(len(self.usable))]
        self.model.train()
        total, n_pairs = torch.zeros((), device=self.device), 0
        with _dropout_stream(self.config.seed, number, self.device):
            for step, batch in enumerate(self.train.batches(order, self.config.batch_size, number)):
                lr = self._set_lr((number - 1) * self.steps_per_epoch + step)
                scan, task = self._draw(batch, number)
                loss, finite = self._step(batch, scan, task)
                if not finite:
                    raise DivergenceError(self._where(number, step, batch, task))
                total += loss * len(scan)
                n_pairs += len(scan)
                self._log_progress(number, step)
        return {"train_loss": float(total) / n_pairs, "lr": lr}

    def _draw(self, batch: Batch, epoch: int) -> tuple[Tensor, Tensor]:
        generators = [stream(self.config.seed, TASKS, epoch, int(number)) for number in batch.numbers]
        return draw_tasks(batch.labels, self.config.tasks_per_scan, generators)

    def _step(self, batch: Batch, scan: Tensor, task: Tensor) -> tuple[Tensor, Tensor]:
        """Forward, backward and update on pairs of scan and task (M,).

        Returns the loss, and whether it and the gradient were finite; where they were not, nothing is updated.
        """
        target = torch.from_numpy(batch.labels)[scan, task].float().to(self.device)
        scan, task = scan.to(self.device), task.to(self.device)
        triplets, mask = batch.triplets.to(self.device), batch.mask.to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"):
            logits = self.model(triplets, mask, task, scan)
        weight = torch.where(target > 0, self.positive_weight[task], 1.0)
        loss = binary_cross_entropy_with_logits(logits.float(), target, weight)
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        longest = math.inf if self.config.clip_norm is None else self.config.clip_norm
        length = torch.nn.utils.clip_grad_norm_(self.parameters.values(), longest)
        finite = torch.isfinite(loss) & torch.isfinite(length)
        if finite:
            self.optimiser.step()
        return loss.detach(), finite

    def _set_lr(self, step: int) -> float:
        lr = self.config.lr * schedule(step, self.config.epochs * self.steps_per_epoch, self.config.warmup_steps)
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        return lr

    def _where(self, epoch: int, step: int, batch: Batch, task: Tensor) -> str:
        keys = [self.train.studies.study_keys[number] for number in batch.numbers]
        tasks = sorted({self.model.tasks[number] for number in task.tolist()})
        return (
            f"the loss or its gradient is not finite in epoch {epoch}, step {step + 1}; tasks {', '.join(tasks)}; "
            f"studies {', '.join(keys)}. The checkpoint of the epoch before is sound; lower fit.lr or fit.clip_norm"
        )

    def _log_progress(self, epoch: int, step: int) -> None:
        self.steps_done += 1
        now = time.monotonic()
        if now - self.logged < _LOG_EVERY_S:
            return
        self.logged = now
        rate = self.steps_done / (now - self.started)
        left = (self.config.epochs * self.steps_per_epoch - (epoch - 1) * self.steps_per_epoch - step - 1) / rate
        logger.info(
            "epoch %d of %d, step %d of %d, %.1f steps per second, %.0f s left",
            epoch, self.config.epochs, step + 1, self.steps_per_epoch, rate, left,
        )  # fmt: skip

    def checkpoint(self, epoch: int, settings: str, metrics: dict[str, float]) -> Checkpoint:
        """A copy of the trained weights and the optimiser, on the CPU."""
        moments = {
            f"{name}|{moment}": value.detach().to("cpu", copy=True)
            for name, parameter in self.parameters.items()
            for moment, value in self.optimiser.state[parameter].items()
        }
        weights = {name: value.detach().to("cpu", copy=True) for name, value in self.parameters.items()}
        return Checkpoint(weights, moments, {"epoch": epoch, "settings": settings, "metrics": metrics})

    def restore(self, checkpoint: Checkpoint) -> int:
        """Take weights and optimiser over; the number of the epoch that comes next."""
        load_trained(self.model, checkpoint)
        for key, value in checkpoint.optimiser.items():
            name, moment = key.split("|")
            # the step counter stays on the CPU, as torch keeps it
            self.optimiser.state[self.parameters[name]][moment] = value if moment == "step" else value.to(self.device)
        return int(checkpoint.state["epoch"]) + 1


@torch.no_grad()
def load_trained(model: HyperCT, checkpoint: Checkpoint) -> None:
    """Copy the trained weights of a checkpoint into the model; raises ConfigError when they are not its own."""
    parameters = model.trainable_parameters()
    expected = {name: tuple(value.shape) for name, value in parameters.items()}
    found = {name: tuple(value.shape) for name, value in checkpoint.weights.items()}
    if expected != found:
        differing = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        raise ConfigError(f"the checkpoint is of another model: {len(differing)} tensors differ, e.g. {differing[:3]}")
    for name, value in checkpoint.weights.items():
        parameters[name].copy_(value)


def schedule(step: int, n_steps: int, warmup_steps: int) -> float:
    """Share of the highest learning rate: linear from near 0 over the warm-up, then a cosine down to 0."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    return 0.5 + 0.5 * math.cos(math.pi * (step - warmup_steps) / max(n_steps - warmup_steps, 1))


def _positive_weights(labels: np.ndarray, config: FitConfig) -> np.ndarray:
    """(K,) float32: 1, or negatives / positives of each task within limits."""
    weights = np.ones(labels.shape[1], dtype=np.float32)
    if config.positive_weight == "balanced":
        positives, negatives = (labels == 1).sum(axis=0), (labels == 0).sum(axis=0)
        both = (positives > 0) & (negatives > 0)
        ratio = negatives[both] / positives[both]
        weights[both] = np.clip(ratio, 1.0 / _WEIGHT_LIMIT, _WEIGHT_LIMIT)
    return weights


@contextlib.contextmanager
def _dropout_stream(seed: int, epoch: int, device: torch.device) -> Iterator[None]:
    """Dropout draws from torch's global generator: seeded here per epoch, and put back afterwards."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(int(stream(seed, DROPOUT, epoch).integers(2**62)))
        yield


def _log_epoch(number: int, n_epochs: int, metrics: dict[str, float]) -> None:
    auroc = metrics.get("validation_auroc")
    logger.info(
        "epoch %d of %d: train loss %.4f, mean validation AUROC %s, %.1f scans per second",
        number, n_epochs, metrics["train_loss"], "-" if auroc is None else f"{auroc:.3f}", metrics["scans_per_s"],
    )  # fmt: skip
