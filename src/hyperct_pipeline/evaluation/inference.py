"""Scores of a trained model for stored volumes.

Shape letters: n studies, T tasks, B studies per batch, N triplets, H and W pixels.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from hyperct_pipeline.errors import PackageError
from hyperct_pipeline.model.settings import ScoringPrecision
from hyperct_pipeline.training.checkpoint import ModelPackage
from hyperct_pipeline.training.dataset import Normalisation
from hyperct_pipeline.volumes.slices import hu_triplets, triplets
from hyperct_pipeline.volumes.store import VolumeStore

logger = logging.getLogger(__name__)

Progress = Callable[[int, int, float], None]
"""Called with studies done, studies in all, seconds since the start."""


def logged_progress(every_s: float = 10.0) -> Progress:
    """A Progress that logs rate and time left, at most once in every_s seconds and at the end."""
    last = 0.0

    def report(done: int, total: int, seconds: float) -> None:
        nonlocal last
        if done == total or seconds - last >= every_s:
            last, rate = seconds, done / max(seconds, 1e-9)
            left = (total - done) / rate
            logger.info("scored %d of %d studies, %.2f per second, %.0f s left", done, total, rate, left)

    return report


def predict_logits(
    package: ModelPackage,
    store: VolumeStore,
    study_keys: Sequence[str],
    device: torch.device,
    batch_size: int = 4,
    progress: Progress | None = None,
    precision: ScoringPrecision = "auto",
) -> NDArray[np.float64]:
    """Logits of every task for every study, (n, T), rows as study_keys, columns as package.tasks.

    The centre crop is scored, without randomness. One thread reads the next batch while this one is computed; voxels
    go to the device as int16 and are normalised there.

    Raises:
        PackageError: a volume was preprocessed otherwise than those the model was trained on.
        StoreError: a study has no volume in the store.
        PackageError: a logit is NaN or infinite, naming studies and tasks.
    """
    model = package.model.to(device).eval()
    normalised, asked = Normalisation(package.slice_config), None if precision == "auto" else precision
    logits = np.empty((len(study_keys), len(package.tasks)), dtype=np.float64)
    started, done = time.monotonic(), 0
    with torch.inference_mode():
        for hu, seen in _prefetched(package, store, study_keys, batch_size, pin=device.type == "cuda"):
            x, mask = hu.to(device, non_blocking=True), seen.to(device, non_blocking=True)
            scores = model.logits_all_tasks(normalised(x), mask, precision=asked)  # (B, T)
            logits[done : done + len(x)] = scores.double().cpu().numpy()
            _refuse_not_finite(logits[done : done + len(x)], study_keys[done:], package.tasks)
            done += len(x)
            if progress is not None:
                progress(done, len(study_keys), time.monotonic() - started)
    return logits


def _refuse_not_finite(logits: NDArray[np.float64], study_keys: Sequence[str], tasks: Sequence[str]) -> None:
    """Logits (B, T) of the first B studies."""
    rows, columns = np.nonzero(~np.isfinite(logits))
    if len(rows):
        studies, named = [study_keys[row] for row in np.unique(rows)], [tasks[column] for column in np.unique(columns)]
        raise PackageError(
            f"{len(rows)} of {logits.size} logits are not finite; studies {', '.join(studies)}; tasks "
            f"{', '.join(named)}. Score with precision bf16 or fp32; where that does not help, the weights are broken"
        )


def probabilities(package: ModelPackage, hu: NDArray[np.int16]) -> NDArray[np.float64]:
    """Uncalibrated probabilities (n, T) of preprocessed volumes that are at hand as arrays.

    Args:
        package: the model.
        hu: int16 HU (n, Z, Y, X), RAS, empty slices dropped, as `preprocess` makes them.
    """
    model = package.model.eval()
    rows = []
    with torch.inference_mode():
        for volume in hu:
            x, mask = triplets(volume, package.slice_config, None)
            rows.append(model.logits_all_tasks(torch.from_numpy(x)[None], torch.from_numpy(mask)[None])[0])
    scores: NDArray[np.float64] = torch.stack(rows).double().sigmoid().numpy()
    return scores


def study_windows(package: ModelPackage, store: VolumeStore, study_key: str) -> tuple[torch.Tensor, torch.Tensor]:
    """What the model sees of a study, before normalisation: triplets (N, 3, H, W) int16 in HU and their mask (N,).

    Raises:
        PackageError: the volume was preprocessed otherwise than those the model was trained on.
        StoreError: the study has no volume in the store.
    """
    stored = store.get(study_key)
    if stored.preprocess_digest != package.preprocess_digest:
        raise PackageError(
            f"study {study_key}: its volume was preprocessed with settings {stored.preprocess_digest}, "
            f"the model was trained with {package.preprocess_digest}; "
            "run `preprocess` again with the model's settings"
        )
    window, mask = hu_triplets(stored.hu, package.slice_config, None)
    return torch.from_numpy(window), torch.from_numpy(mask)


def _prefetched(
    package: ModelPackage, store: VolumeStore, study_keys: Sequence[str], batch_size: int, pin: bool
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of triplets (B, N, 3, H, W) in HU and masks (B, N), one batch ahead."""

    def read(first: int) -> tuple[torch.Tensor, torch.Tensor]:
        parts = [study_windows(package, store, key) for key in study_keys[first : first + batch_size]]
        windows, masks = torch.stack([x for x, _ in parts]), torch.stack([mask for _, mask in parts])
        return (windows.pin_memory(), masks.pin_memory()) if pin else (windows, masks)

    with ThreadPoolExecutor(max_workers=1) as reader:
        ahead = None
        for first in range(0, len(study_keys), batch_size):
            current = ahead or reader.submit(read, first)
            later = first + batch_size
            ahead = reader.submit(read, later) if later < len(study_keys) else None
            yield current.result()
