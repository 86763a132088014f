"""Labelled studies as batches of tensors.

Shape letters: n studies, K tasks, B studies per batch, N triplets, H and W pixels.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hyperct_pipeline.errors import LeakageError, StoreError
from hyperct_pipeline.training.task_sampling import UNKNOWN
from hyperct_pipeline.volumes.slices import SliceConfig, triplets
from hyperct_pipeline.volumes.store import VolumeStore

CROP, TASKS, ORDER, DROPOUT = range(4)
"""What a random stream is for; part of its seed, so that one kind of draw does not move another."""


@dataclass(frozen=True, eq=False)
class LabelledStudies:
    """Studies of one split with their labels."""

    study_keys: tuple[str, ...]  # (n,)
    patient_keys: tuple[str, ...]  # (n,)
    labels: NDArray[np.int8]  # (n, K): 1, 0, or -1 for unknown
    volume_digests: tuple[str, ...] = ()  # (n,), of the voxels; empty where not known

    def __post_init__(self) -> None:
        if not len(self.study_keys) == len(self.patient_keys) == len(self.labels):
            raise ValueError("study_keys, patient_keys and labels differ in length")
        if not np.isin(self.labels, (UNKNOWN, 0, 1)).all():
            raise ValueError("labels must be 1, 0 or -1 (unknown)")


class Batch(NamedTuple):
    """Some studies, as the model takes them."""

    triplets: Tensor  # float32 (B, N, 3, H, W)
    mask: Tensor  # bool (B, N)
    labels: NDArray[np.int8]  # (B, K)
    numbers: NDArray[np.int64]  # (B,) positions in the split


class CTStudies:
    """Volumes of labelled studies, cut into triplets.

    Args:
        preprocess_digest: of the settings that every volume must have been prepared with.
        seed: of the random crops; None takes the centre crop.
        trim: leave out triplets that no scan of a batch has. False for `slice_layout: reference`, which mixes slices
            according to the number of triplets.
    """

    def __init__(
        self,
        store: VolumeStore,
        studies: LabelledStudies,
        slice_config: SliceConfig,
        preprocess_digest: str,
        seed: int | None = None,
        trim: bool = True,
    ) -> None:
        self.studies, self._trim = studies, trim
        self._store, self._slices = store, slice_config
        self._digest, self._seed = preprocess_digest, seed

    def __len__(self) -> int:
        return len(self.studies.study_keys)

    def read(self, number: int, epoch: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Triplets (N, 3, H, W) and mask (N,) of one study; the crop follows from (seed, epoch, number).

        Raises:
            StoreError: no volume, or one that was prepared with other settings.
        """
        key = self.studies.study_keys[number]
        stored = self._store.get(key)
        if stored.preprocess_digest != self._digest:
            raise StoreError(
                f"volume {key} was prepared with settings {stored.preprocess_digest}, but the configuration now says "
                f"{self._digest}: run `kedro run --pipelines=preprocess` first"
            )
        generator = None if self._seed is None else stream(self._seed, CROP, epoch, number)
        return triplets(stored.hu, self._slices, generator)

    def batches(self, order: Sequence[int] | NDArray[np.int64], batch_size: int, epoch: int) -> Iterator[Batch]:
        """The studies `order` names, batch by batch; a thread reads the next batch while this one is used."""
        numbers = np.asarray(order, dtype=np.int64)
        chunks = [numbers[first : first + batch_size] for first in range(0, len(numbers), batch_size)]
        with ThreadPoolExecutor(max_workers=1) as reader:
            ahead = reader.submit(self._batch, chunks[0], epoch) if chunks else None
            for following in [*chunks[1:], None]:
                if ahead is None:
                    return
                batch = ahead.result()
                ahead = None if following is None else reader.submit(self._batch, following, epoch)
                yield batch

    def _batch(self, numbers: NDArray[np.int64], epoch: int) -> Batch:
        images, masks = zip(*(self.read(int(number), epoch) for number in numbers), strict=True)
        mask = np.stack(masks)
        # real triplets come first; the rest would only cost time
        longest = max(int(mask.sum(axis=1).max()), 1) if self._trim else mask.shape[1]
        return Batch(
            torch.from_numpy(np.stack([image[:longest] for image in images])),
            torch.from_numpy(mask[:, :longest].copy()),
            self.studies.labels[numbers],
            numbers,
        )


def stream(seed: int, purpose: int, *position: int) -> np.random.Generator:
    """The random stream of one purpose at one position (epoch, study), independent of all others."""
    return np.random.default_rng((seed, purpose, *position))


def refuse_shared_patients(train: LabelledStudies, validation: LabelledStudies) -> None:
    """Raises LeakageError when a patient stands in both splits."""
    if shared := set(train.patient_keys) & set(validation.patient_keys):
        raise LeakageError(
            f"{len(shared)} patients stand in train and in validation, e.g. {sorted(shared)[:3]}: "
            "run `kedro run --pipelines=harmonize` to split by patient"
        )
