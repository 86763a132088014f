"""How fast training reads its scans, and how long it waits for them."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from paired_times import wait
from torch import Tensor

from hyperct_pipeline.training.dataset import CTStudies, LabelledStudies
from hyperct_pipeline.volumes.slices import SliceConfig
from hyperct_pipeline.volumes.store import StoredVolume, VolumeStore

_MARGIN = 20  # voxels that a volume is larger than its crop


@contextmanager
def stored_studies(n_scans: int, n_triplets: int, crop_yx: tuple[int, int]) -> Iterator[CTStudies]:
    """Random volumes in a store on disk, as training reads them: with random crops and a reading thread."""
    rng = np.random.default_rng(0)
    shape = (3 * n_triplets, crop_yx[0] + _MARGIN, crop_yx[1] + _MARGIN)
    with tempfile.TemporaryDirectory() as folder:
        store = VolumeStore(Path(folder))
        keys = tuple(f"s{number:02d}" for number in range(2 * n_scans))
        for key in keys:
            hu = rng.integers(-1000, 1000, shape).astype(np.int16)
            store.put(key, StoredVolume(hu, np.eye(4), hu.shape, np.arange(len(hu)), "bench"))
        labels = np.zeros((len(keys), 1), dtype=np.int8)
        slices = SliceConfig(crop_yx=crop_yx, n_triplets=n_triplets)
        yield CTStudies(store, LabelledStudies(keys, keys, labels), slices, "bench", seed=0)


def loader_rate(studies: CTStudies, n_scans: int, seconds: float = 2.0) -> float:
    """Scans per second that one reading thread delivers from the store when nothing else is to be done."""
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        for batch in studies.batches(range(len(studies)), n_scans, epoch=done):
            done += len(batch.numbers)
    return done / (time.perf_counter() - started)


def loader_wait(
    step: Callable[[Tensor, Tensor], None], studies: CTStudies, n_scans: int, n_steps: int, device: torch.device
) -> tuple[float, float]:
    """Median seconds per step that training stands still for the next batch, and its share of all time.

    The first batch of an epoch, before which there is no step to read beside, is left out.

    Args:
        step: a training step on normalised triplets (B, N, 3, H, W) and mask (B, N) on the device.
    """
    studies.pin = device.type == "cuda"
    order = np.resize(np.arange(len(studies)), (1 + n_steps) * n_scans)
    waited, began = [], []
    batches = studies.batches(order, n_scans, epoch=0)
    for _ in range(1 + n_steps):
        began.append(time.perf_counter())
        batch = next(batches)
        waited.append(time.perf_counter() - began[-1])
        there = batch.to(device)
        step(studies.normalise(there.images), there.mask)
        wait(device)
    whole = time.perf_counter() - began[1]
    return float(np.median(waited[1:])), sum(waited[1:]) / whole
