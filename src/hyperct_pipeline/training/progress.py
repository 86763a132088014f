"""What a training says while it runs: steps per second, time left, the figures of an epoch."""

import logging
import time
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

logger = logging.getLogger(__name__)

_EVERY_S = 10.0


class Progress:
    """Counts steps and knows when to speak.

    Args:
        n_epochs: of the whole training.
        steps_per_epoch: of each.
    """

    def __init__(self, n_epochs: int, steps_per_epoch: int) -> None:
        self._n_epochs, self._steps_per_epoch = n_epochs, steps_per_epoch
        self._started = self._told = time.monotonic()
        self._done = 0
        self._told_not_evaluable = False

    @property
    def is_due(self) -> bool:
        """Whether the last word was some seconds ago."""
        return time.monotonic() - self._told > _EVERY_S

    def step_done(self) -> None:
        """Count a step."""
        self._done += 1

    def tell_step(self, epoch: int, step: int) -> None:
        """Log epoch and step (from 0) with the time that is left."""
        self._told = time.monotonic()
        rate = self._done / (self._told - self._started)
        left = (self._n_epochs * self._steps_per_epoch - (epoch - 1) * self._steps_per_epoch - step - 1) / rate
        logger.info(
            "epoch %d of %d, step %d of %d, %.1f steps per second, %.0f s left",
            epoch, self._n_epochs, step + 1, self._steps_per_epoch, rate, left,
        )  # fmt: skip

    def tell_epoch(self, number: int, metrics: Mapping[str, float | None]) -> None:
        """Log the figures of an epoch that has ended."""
        auroc = metrics.get("validation_auroc")
        logger.info(
            "epoch %d of %d: train loss %.4f, mean validation AUROC %s, %.1f scans per second",
            number, self._n_epochs, metrics["train_loss"], "-" if auroc is None else f"{auroc:.3f}",
            metrics["scans_per_s"],
        )  # fmt: skip

    def tell_not_evaluable(self, labels: NDArray[np.int8], tasks: Sequence[str], min_class_count: int) -> None:
        """Name the tasks that validation cannot judge, once. Labels (n, K): 1, 0 or -1 for unknown."""
        smaller = np.minimum((labels == 1).sum(axis=0), (labels == 0).sum(axis=0))
        rare = (smaller < min_class_count).nonzero()[0]
        if len(rare) and not self._told_not_evaluable:
            named = ", ".join(tasks[number] for number in rare)
            logger.warning("%d tasks are not evaluable, fewer than %d validation studies of a class: %s",
                           len(rare), min_class_count, named)  # fmt: skip
        self._told_not_evaluable = True
