"""Labelled studies as batches of tensors.

Shape letters: n studies, K tasks, B studies per batch, N triplets, H and W pixels.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hyperct_pipeline.errors import LeakageError, StoreError
from hyperct_pipeline.training.task_sampling import UNKNOWN
from hyperct_pipeline.volumes.slices import SliceConfig, hu_triplets, normalisation
from hyperct_pipeline.volumes.store import VolumeStore

CROP, TASKS, ORDER, DROPOUT, SHUFFLE = range(5)
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
    """Some studies, as they are read: int16 HU, or features where the backbone's output never changes."""

    images: Tensor  # int16 (B, N, 3, H, W) in HU, or float32 (B, N, D) CLS tokens
    mask: Tensor  # bool (B, N)
    labels: NDArray[np.int8]  # (B, K)
    numbers: NDArray[np.int64]  # (B,) positions in the split

    def to(self, device: torch.device) -> "Batch":
        """The same on a device; copies of pinned memory run beside the computation."""
        return self._replace(
            images=self.images.to(device, non_blocking=True), mask=self.mask.to(device, non_blocking=True)
        )


class Normalisation:
    """HU to what the backbone expects, on the device of the images.

    Masked triplets stay air. No score depends on them, except with `slice_layout: reference`: it mixes planes of all
    triplets, and the public code pads with 0 before it normalises, which is air.
    """

    def __init__(self, slice_config: SliceConfig) -> None:
        self._host = [torch.from_numpy(part)[:, None, None] for part in normalisation(slice_config)]
        self._there: dict[torch.device, list[Tensor]] = {}

    def __call__(self, images: Tensor) -> Tensor:
        """int16 (B, N, 3, H, W) to float32 of the same shape."""
        if images.device not in self._there:  # sent once: a copy from ordinary memory waits for the device
            self._there[images.device] = [part.to(images.device) for part in self._host]
        scale, offset = self._there[images.device]
        normalised: Tensor = images.float() * scale + offset
        return normalised


class CTStudies:
    """Volumes of labelled studies, cut into triplets.

    Args:
        preprocess_digest: of the settings that every volume must have been prepared with.
        seed: of the random crops; None takes the centre crop.
        trim: leave out triplets that no scan of a batch has. False for `slice_layout: reference`, which mixes slices
            according to the number of triplets.
        pin: into memory from which CUDA copies without waiting.
    """

    def __init__(
        self,
        store: VolumeStore,
        studies: LabelledStudies,
        slice_config: SliceConfig,
        preprocess_digest: str,
        seed: int | None = None,
        trim: bool = True,
        pin: bool = False,
    ) -> None:
        self.studies, self.trim, self.pin = studies, trim, pin
        self.store, self.slices = store, slice_config
        self.features: tuple[Tensor, Tensor] | None = None
        self._normalised = Normalisation(slice_config)
        self.digest, self.seed = preprocess_digest, seed

    def __len__(self) -> int:
        return len(self.studies.study_keys)

    def normalise(self, images: Tensor) -> Tensor:
        """HU (B, N, 3, H, W) to what the backbone expects, on the device of the images."""
        return self._normalised(images)

    def read(self, number: int, epoch: int) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
        """HU triplets (N, 3, H, W) and mask (N,) of one study; the crop follows from (seed, epoch, number).

        Raises:
            StoreError: no volume, or one that was prepared with other settings.
        """
        key = self.studies.study_keys[number]
        stored = self.store.get(key)
        if stored.preprocess_digest != self.digest:
            raise StoreError(
                f"volume {key} was prepared with settings {stored.preprocess_digest}, but the configuration now says "
                f"{self.digest}: run `kedro run --pipelines=preprocess` first"
            )
        generator = None if self.seed is None else stream(self.seed, CROP, epoch, number)
        return hu_triplets(stored.hu, self.slices, generator)

    def batches(self, order: Sequence[int] | NDArray[np.int64], batch_size: int, epoch: int) -> Iterator[Batch]:
        """The studies `order` names, batch by batch."""
        numbers = np.asarray(order, dtype=np.int64)
        yield from self.chunks([numbers[k : k + batch_size] for k in range(0, len(numbers), batch_size)], epoch)

    def chunks(self, chunks: Sequence[NDArray[np.int64]], epoch: int) -> Iterator[Batch]:
        """One batch per chunk of study numbers; a thread reads the next one while this one is used."""
        with ThreadPoolExecutor(max_workers=1) as reader:
            ahead = reader.submit(self._batch, chunks[0], epoch) if chunks else None
            for following in [*chunks[1:], None]:
                if ahead is None:
                    return
                batch = ahead.result()
                ahead = None if following is None else reader.submit(self._batch, following, epoch)
                yield batch

    def keep_features(self, compute: Callable[[Tensor, Tensor], Tensor], device: torch.device, batch_size: int) -> None:
        """From now on batches hold the CLS tokens of the centre crop, computed once and kept on the host.

        Args:
            compute: normalised triplets (B, N, 3, H, W) and mask to CLS tokens (B, N, D).
        """
        centre = CTStudies(self.store, self.studies, self.slices, self.digest, trim=False, pin=self.pin)
        parts = []
        for batch in centre.batches(range(len(self)), batch_size, epoch=0):
            there = batch.to(device)
            with torch.no_grad():
                parts.append((compute(centre.normalise(there.images), there.mask).cpu(), batch.mask))
        if parts:
            self.features = (torch.cat([tokens for tokens, _ in parts]), torch.cat([mask for _, mask in parts]))

    def _batch(self, numbers: NDArray[np.int64], epoch: int) -> Batch:
        if self.features is not None:
            index = torch.from_numpy(numbers)
            images, mask = (part[index] for part in self.features)
        else:
            pairs = [self.read(int(number), epoch) for number in numbers]
            images = torch.from_numpy(np.stack([window for window, _ in pairs]))
            mask = torch.from_numpy(np.stack([seen for _, seen in pairs]))
        # real triplets come first; the rest would only cost time
        longest = max(int(mask.sum(dim=1).max()), 1) if self.trim else mask.shape[1]
        images, mask = images[:, :longest].contiguous(), mask[:, :longest].contiguous()
        if self.pin:
            images, mask = images.pin_memory(), mask.pin_memory()
        return Batch(images, mask, self.studies.labels[numbers], numbers)


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
