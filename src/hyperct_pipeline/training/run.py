"""One run of training: model, optimiser and data, epoch by epoch and step by step."""

import contextlib
import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from hyperct_pipeline.model.hyperct import HyperCT
from hyperct_pipeline.model.precision import matmul_precision
from hyperct_pipeline.training import processes
from hyperct_pipeline.training.dataset import DROPOUT, Batch, CTStudies, stream
from hyperct_pipeline.training.device import device_of
from hyperct_pipeline.training.divergence import DivergenceError, refuse_divergence
from hyperct_pipeline.training.early_stopping import EarlyStopping
from hyperct_pipeline.training.history import start_digest
from hyperct_pipeline.training.losses import TaskLoss
from hyperct_pipeline.training.optimisation import MovingAverage, Optimiser
from hyperct_pipeline.training.progress import Progress
from hyperct_pipeline.training.resources import chosen_micro_batch
from hyperct_pipeline.training.run_state import LOSS
from hyperct_pipeline.training.settings import FitConfig
from hyperct_pipeline.training.steps import Part, Step, steps_of_epoch, usable_studies
from hyperct_pipeline.training.validation import score, validation_metrics


class TrainingRun:
    """Model, optimiser and data of one run of `fit`; arguments and errors as that has them."""

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
        own = {LOSS + name: parameter for name, parameter in self.loss.named_parameters()}
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
        self.stopping = EarlyStopping(config.patience)
        self.progress = Progress(config.epochs, self.steps_per_epoch)

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
                if self.progress.is_due:
                    self._refuse_divergence(number, steps)
                    self.progress.tell_step(number, step.number)
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
        self.progress.step_done()

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
        labels, tasks, least = self.validation.studies.labels, self.model.tasks, self.config.min_class_count
        self.progress.tell_not_evaluable(labels, tasks, least)
        metrics = validation_metrics(labels, logits, tasks, least)
        self.stopping.see(metrics)
        return metrics

    def _refuse_divergence(self, epoch: int, steps: list[Step]) -> None:
        keys = self.train.studies.study_keys
        refuse_divergence(self.optimiser.first_bad_step(), epoch, steps, self.model.tasks, keys)


@contextlib.contextmanager
def _kept_random_state(device: torch.device) -> Iterator[None]:
    """Dropout draws from torch's global generator: seeded in each step, and put back after the epoch."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield
