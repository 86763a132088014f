"""Slice triplets: a volume as a stack of three-channel images for a 2D backbone, and the way back.

Letters: Z, Y, X axes of the stored volume (RAS); N triplets; H, W the crop, H along Y and W along X.

The layout `reference` is that of the public HyperCT code: H along X, W along Y, nothing flipped; of slices beyond a
multiple of three a single one is left out and of two the last is repeated.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from hyperct_pipeline.volumes.compact_voxels import CompactVoxels
from hyperct_pipeline.volumes.store import StoredVolume

# Channel statistics of the backbones' pre-training (ImageNet).
IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
IMAGENET_STD = np.array([0.229, 0.224, 0.225], dtype=np.float32)
AIR = -1  # index of a slice that is not there


@dataclass(frozen=True)
class SliceConfig:
    """How a volume is cut into model input."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    crop_yx: tuple[int, int] = (144, 144)  # voxels of the preprocessed grid
    n_triplets: int = 55  # most triplets per volume; fewer are padded and masked
    window_hu: tuple[int, int] = (-1000, 1000)  # low, high: become 0 and 1 before normalisation
    layout: Literal["upright", "reference"] = "upright"  # patient's front up; reference: as the public code has it

    def __post_init__(self) -> None:
        if min(self.crop_yx) < 1 or self.n_triplets < 1:
            raise ValueError(f"crop_yx {self.crop_yx} and n_triplets {self.n_triplets} must be positive")
        if self.window_hu[0] >= self.window_hu[1]:
            raise ValueError(f"window_hu {self.window_hu} must be (low, high)")
        if self.layout == "reference" and self.crop_yx[0] != self.crop_yx[1]:
            raise ValueError(
                f"layout 'reference' turns images on their side: crop_yx must be square, is {self.crop_yx}"
            )


def triplets(
    hu: NDArray[np.int16] | CompactVoxels, config: SliceConfig, generator: np.random.Generator | None
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Images of three neighbouring axial slices each, patient's front up, normalised for the backbone.

    Args:
        hu: (Z, Y, X) in RAS.
        config: crop, number of triplets and window.
        generator: draws the in-plane crop (training); None takes the centre (test).

    Returns:
        float32 (N, 3, H, W), air where masked, and bool (N,), False where there is no triplet.
    """
    window, mask = hu_triplets(hu, config, generator)
    scale, offset = normalisation(config)
    images = np.multiply(window, scale[:, None, None], dtype=np.float32)
    images += offset[:, None, None]
    return images, mask


def hu_triplets(
    hu: NDArray[np.int16] | CompactVoxels, config: SliceConfig, generator: np.random.Generator | None
) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """The images of `triplets` before normalisation, in HU clipped to the window: what is sent to the device.

    Returns:
        int16 (N, 3, H, W), the window's lower end where masked or outside the volume, and bool (N,).
    """
    height, width = config.crop_yx
    sideways = config.layout == "reference"
    n_slices, n_rows, n_columns = (hu.shape[axis] for axis in ((0, 2, 1) if sideways else (0, 1, 2)))
    plan = triplet_plan(n_slices, config.n_triplets, sideways)
    top = _crop_start(n_rows, height, generator)
    left = _crop_start(n_columns, width, generator)
    low, high = config.window_hu

    rows, rows_out = _overlap(n_rows, height, top)
    columns, columns_out = _overlap(n_columns, width, left)
    window = np.full((config.n_triplets, 3, height, width), low, dtype=np.int16)
    # y grows to the front, image rows grow downwards: the flip puts the patient's front up
    upright = window[: len(plan)] if sideways else window[: len(plan), :, ::-1]
    present = plan != AIR
    wanted = plan[present]  # asked for in one index: of compact voxels only these slices are decoded
    seen = hu[wanted, columns, rows].swapaxes(1, 2) if sideways else hu[wanted, rows, columns]
    upright[:, :, rows_out, columns_out][present] = seen
    np.clip(window, low, high, out=window)
    return window, np.arange(config.n_triplets) < len(plan)


def normalisation(config: SliceConfig) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Per channel the scale and offset that take HU to what the backbone expects: window to [0, 1], then ImageNet."""
    low, high = config.window_hu
    scale = 1.0 / ((high - low) * IMAGENET_STD)
    return scale, -low * scale - IMAGENET_MEAN / IMAGENET_STD


def unproject(maps: NDArray[np.float32], stored: StoredVolume, config: SliceConfig) -> NDArray[np.float32]:
    """Lays maps over the test-time triplets (N, H, W) back onto the preprocessed grid (Z, Y, X).

    All three slices of a triplet receive its map; voxels that no triplet showed are NaN. Masked triplets at
    the end of `maps` are passed over.
    """
    height, width = config.crop_yx
    sideways = config.layout == "reference"
    plan = triplet_plan(stored.hu.shape[0], config.n_triplets, sideways)
    if maps.ndim != 3 or len(maps) < len(plan) or maps.shape[1:] != (height, width):
        raise ValueError(f"expected maps (>= {len(plan)}, {height}, {width}), found {maps.shape}")
    _, n_rows, n_columns = stored.grid_shape_zyx
    rows, rows_out = _overlap(n_rows, height, _crop_start(n_rows, height, None))
    columns, columns_out = _overlap(n_columns, width, _crop_start(n_columns, width, None))
    grid = np.full(stored.grid_shape_zyx, np.nan, dtype=np.float32)
    # undoes the transpose or the flip of `hu_triplets`
    upright = maps[: len(plan)].transpose(0, 2, 1) if sideways else maps[: len(plan), ::-1]
    for image, members in zip(upright, plan, strict=True):
        for member in members[members != AIR]:
            grid[stored.kept_slices[member], rows, columns] = image[rows_out, columns_out]
    return grid


def triplet_plan(n_slices: int, n_triplets: int, reference: bool = False) -> NDArray[np.int64]:
    """Which slices make which triplet: int64 (n, 3), n <= n_triplets, neighbours in rising order.

    One or two slices beyond a multiple of 3 are left out, at the top first. Fewer than three slices are filled
    up with AIR. Where there are too many triplets, evenly spaced ones are taken, first and last included.
    With `reference` one slice too many is left out at the top, and one too few is the last one again.
    """
    if n_slices < 1:
        raise ValueError("a volume without slices has no triplets")
    if reference:
        n_groups = max((n_slices + 1) // 3, 1)
        groups = np.minimum(np.arange(3 * n_groups, dtype=np.int64), n_slices - 1).reshape(-1, 3)
        return groups if n_groups <= n_triplets else _spread(groups, n_triplets)
    if n_slices < 3:
        return np.array([[0, 1 if n_slices == 2 else AIR, AIR]], dtype=np.int64)
    bottom = (n_slices % 3) // 2
    groups = bottom + np.arange(n_slices - n_slices % 3, dtype=np.int64).reshape(-1, 3)
    return groups if len(groups) <= n_triplets else _spread(groups, n_triplets)


def _spread(groups: NDArray[np.int64], n_triplets: int) -> NDArray[np.int64]:
    """Evenly spaced groups, the first and the last among them."""
    return groups[np.linspace(0, len(groups) - 1, n_triplets).round().astype(np.int64)]


def _crop_start(size: int, crop: int, generator: np.random.Generator | None) -> int:
    """First index of the crop; negative where the crop is larger and air surrounds the volume."""
    slack = size - crop
    if generator is not None and slack > 0:
        return int(generator.integers(0, slack + 1))
    return slack // 2


def _overlap(size: int, crop: int, start: int) -> tuple[slice, slice]:
    """The part of an axis that crop and volume share: seen from the volume, seen from the crop."""
    low, high = max(start, 0), min(start + crop, size)
    return slice(low, high), slice(low - start, high - start)
