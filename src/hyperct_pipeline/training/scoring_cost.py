"""What it costs to score a scan for all tasks, and how much memory a training takes.

Shape letters: n studies, K tasks.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
import torch

from hyperct_pipeline.model.hyperct import HyperCT
from hyperct_pipeline.training.dataset import CTStudies
from hyperct_pipeline.training.flop_count import matmul_flop
from hyperct_pipeline.training.validation import batch_logits

_SAMPLE_EVERY_S = 0.02
_TIMED_BATCHES = 5


def seconds_per_scan(model: HyperCT, studies: CTStudies, batch_size: int, device: torch.device) -> float | None:
    """Seconds to read and score a scan for all tasks: the median of a few batches of equal size.

    A batch before the clock starts merges the weights and allocates, which happens once per model and not per scan.
    Short splits are gone through several times. None without studies.
    """
    if not len(studies):
        return None
    training, size = model.training, min(batch_size, len(studies))
    model.eval()
    order = np.resize(np.arange(len(studies)), (1 + _TIMED_BATCHES) * size)
    seconds, began = [], 0.0
    for batch in studies.batches(order, size, epoch=0):
        batch_logits(model, studies, batch.to(device)).cpu()  # waits for the device
        now = time.perf_counter()
        seconds.append(now - began)
        began = now
    model.train(training)
    return median(seconds[1:]) / size


def flop_per_scan(model: HyperCT, studies: CTStudies, device: torch.device) -> float | None:
    """Operations of matrix products to score one scan for all tasks; None without studies.

    Merging the weights is not counted: it is done once, not per scan. Ends the model's training.
    """
    if not len(studies):
        return None
    model.requires_grad_(False)
    model.eval()
    batch = next(studies.batches([0], 1, epoch=0)).to(device)
    images = studies.normalise(batch.images)
    model.logits_all_tasks(images, batch.mask, precision=model.precision)
    return matmul_flop(lambda: model.logits_all_tasks(images, batch.mask, precision=model.precision))


@contextmanager
def peak_memory(device: torch.device) -> Iterator[list[float]]:
    """Largest memory in bytes inside the block: of the device, or how far the process has grown on the host."""
    peak = [0.0]
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield peak
        peak[0] = float(torch.cuda.max_memory_allocated(device))
        return
    start, done = _resident_bytes(), threading.Event()

    def watch() -> None:
        while not done.wait(_SAMPLE_EVERY_S):
            peak[0] = max(peak[0], _resident_bytes() - start)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def _resident_bytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return float(pages * os.sysconf("SC_PAGE_SIZE"))
