"""From a CT volume to what the store keeps: RAS, padding clamped, resampled with anti-aliasing, window clipped.

The resampling is that of MONAI's Resize(mode="trilinear", anti_aliasing=True): a Gaussian of sigma (factor - 1) / 2
per shrinking axis, then linear interpolation between voxel centres. Both are linear and separable, so per axis they
are one small matrix, and three matrix products do what takes MONAI 15 s for 300 slices in 0.4 s. The matrices are
sparse (ten numbers in a row of 512); as dense ones they would keep all threads of the BLAS busy, and several workers
on one machine then wait for each other. One difference to MONAI: beyond the border the last voxel is repeated, where
MONAI takes 0 HU, which paints water around the body.
"""

import dataclasses
import hashlib
import json
import math

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from scipy.sparse import csr_array

from hyperct_pipeline.errors import HyperctError
from hyperct_pipeline.volumes.slices import SliceConfig
from hyperct_pipeline.volumes.store import StoredVolume, StoreForm
from hyperct_pipeline.volumes.volume import Volume, to_ras

# Part of the digest: raise it when the same input and settings give other voxels.
PREPROCESSING_VERSION = "2"
# The Gaussian ends after so many sigmas.
TRUNCATE_SIGMAS = 4.0


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class PreprocessConfig:
    """What the model's input grid is. Exactly one of shape and spacing is given."""

    shape_zyx: tuple[int, int, int] | None = None  # voxels; spacing then differs from scan to scan
    spacing_mm: tuple[float, float, float] | None = None  # (z, y, x); shape then differs from scan to scan
    window_hu: tuple[int, int] = (-1000, 1000)  # low, high: values are clipped to it
    padding_hu: int = -1024  # lower values are padding of the scanner, not tissue; clamped before resampling
    store: StoreForm = "mapped"  # mapped: .npy mapped into memory; compact: compressed, a third of the bytes or less
    verify_store: bool = False  # a re-run reads all stored voxels and makes damaged volumes again

    def __post_init__(self) -> None:
        if (self.shape_zyx is None) == (self.spacing_mm is None):
            raise ValueError("give exactly one of shape_zyx and spacing_mm")
        if min(self.shape_zyx or self.spacing_mm or (0,)) <= 0:
            raise ValueError("shape_zyx and spacing_mm must be positive")
        if not self.padding_hu <= self.window_hu[0] < self.window_hu[1]:
            raise ValueError(f"padding_hu {self.padding_hu} and window_hu {self.window_hu} must rise in this order")

    def digest(self) -> str:
        """Travels with the store, checkpoints and predictions: input made otherwise is refused."""
        settings = dataclasses.asdict(self)
        del settings["store"], settings["verify_store"]  # change no voxel
        text = json.dumps([PREPROCESSING_VERSION, settings], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def check_slices_fit(preprocess: PreprocessConfig, slices: SliceConfig, img_size: tuple[int, int]) -> None:
    """Grid, crop, windows and backbone must belong together.

    Args:
        preprocess: of the stored volumes.
        slices: how these are cut.
        img_size: (rows, columns) that the backbone takes.

    Raises:
        ValueError: listing everything that does not fit.
    """
    found = []
    if tuple(slices.crop_yx) != tuple(img_size):
        found.append(f"slices.crop_yx {slices.crop_yx} must equal backbone.img_size {img_size}")
    (low, high), (stored_low, stored_high) = slices.window_hu, preprocess.window_hu
    if not stored_low <= low < high <= stored_high:
        found.append(
            f"slices.window_hu {slices.window_hu} must lie within preprocess.window_hu {preprocess.window_hu}: "
            "values beyond it are no longer in the store"
        )
    if preprocess.shape_zyx and any(c > n for c, n in zip(slices.crop_yx, preprocess.shape_zyx[1:], strict=True)):
        found.append(
            f"slices.crop_yx {slices.crop_yx} must not be larger than the rows and columns of "
            f"preprocess.shape_zyx {preprocess.shape_zyx}: the rim would be made of air"
        )
    if found:
        raise ValueError("; ".join(found))


class EmptyVolumeError(HyperctError):
    """Nothing in the volume is brighter than the low end of the window."""


def preprocess(volume: Volume, config: PreprocessConfig) -> StoredVolume:
    """The model's view of a scan. Slices with nothing above the window's low end are left out.

    Raises:
        EmptyVolumeError: that is all of them.
    """
    upright = to_ras(volume)
    values, affine = resample(upright, *_grid(upright, config), lowest_hu=config.padding_hu)
    hu = np.clip(np.rint(values), *config.window_hu).astype(np.int16)
    kept = np.flatnonzero(hu.max(axis=(1, 2)) > config.window_hu[0])
    if len(kept) == 0:
        raise EmptyVolumeError(f"all {len(hu)} slices are at or below {config.window_hu[0]} HU")
    depth, height, width = hu.shape
    return StoredVolume(hu[kept], affine, (depth, height, width), kept.astype(np.int64), config.digest())


def resample(
    volume: Volume,
    shape_zyx: tuple[int, int, int],
    factors_zyx: tuple[float, float, float],
    lowest_hu: int,
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Resamples about the centre of the volume.

    Args:
        volume: what to resample.
        shape_zyx: of the result.
        factors_zyx: voxels of the volume per voxel of the result.
        lowest_hu: lower values are raised to it first.

    Returns:
        float32 (Z, Y, X) HU, and the affine of the new grid.
    """
    along_z, along_y, along_x = (
        csr_array(resampling_matrix(*axis)) for axis in zip(volume.hu.shape, shape_zyx, factors_zyx, strict=True)
    )
    in_plane = np.empty((volume.hu.shape[0], *shape_zyx[1:]), dtype=np.float32)
    for index, image in enumerate(volume.hu):  # slice by slice: no float copy of the whole scan
        rows = along_y @ np.maximum(image, lowest_hu).astype(np.float32)
        in_plane[index] = (along_x @ np.ascontiguousarray(rows.T)).T
    values = (along_z @ in_plane.reshape(len(in_plane), -1)).reshape(shape_zyx)

    to_old_index = np.eye(4)  # new index (x, y, z, 1) -> old one
    for axis in range(3):
        old, new, factor = volume.hu.shape[2 - axis], shape_zyx[2 - axis], factors_zyx[2 - axis]
        to_old_index[axis, axis] = factor
        to_old_index[axis, 3] = _old_index(0, old, new, factor)
    return values, volume.affine @ to_old_index


def resampling_matrix(n_old: int, n_new: int, factor: float) -> NDArray[np.float32]:
    """(n_new, n_old): smoothing where the axis shrinks, then linear interpolation; rows sum to 1."""
    kernel = _gaussian(max(0.0, (factor - 1) / 2))
    reach = len(kernel) // 2
    matrix = np.zeros((n_new, n_old))
    for new in range(n_new):
        place = _old_index(new, n_old, n_new, factor)
        below = math.floor(place)
        for neighbour, weight in ((below, below + 1 - place), (below + 1, place - below)):
            olds = np.clip(np.arange(neighbour - reach, neighbour + reach + 1), 0, n_old - 1)
            np.add.at(matrix[new], olds, weight * kernel)
    return matrix.astype(np.float32)


def _old_index(new: float, n_old: int, n_new: int, factor: float) -> float:
    """Where a new voxel centre lies in the old grid; the centres of both grids coincide."""
    return (n_old - 1) / 2 + (new - (n_new - 1) / 2) * factor


def _gaussian(sigma: float) -> NDArray[np.float64]:
    """Weight of each voxel under a normal curve, integrated over the voxel's width."""
    if sigma == 0:
        return np.ones(1)
    reach = int(max(sigma * TRUNCATE_SIGMAS, 0.5) + 0.5)
    edges = (np.arange(-reach, reach + 2) - 0.5) / (sigma * math.sqrt(2))
    weights = np.diff([math.erf(edge) for edge in edges])
    return np.asarray(weights / weights.sum())


def _grid(volume: Volume, config: PreprocessConfig) -> tuple[tuple[int, int, int], tuple[float, float, float]]:
    """Shape of the result, and old voxels per new voxel, both (z, y, x)."""
    old_z, old_y, old_x = volume.hu.shape
    if config.shape_zyx is not None:
        z, y, x = config.shape_zyx
        return (z, y, x), (old_z / z, old_y / y, old_x / x)
    assert config.spacing_mm is not None, "the config has checked it"
    wanted = np.asarray(config.spacing_mm) / np.asarray(volume.spacing_mm)
    fz, fy, fx = (float(factor) for factor in wanted)
    return (max(1, round(old_z / fz)), max(1, round(old_y / fy)), max(1, round(old_x / fx))), (fz, fy, fx)
