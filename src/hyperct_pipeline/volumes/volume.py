"""The volume and its axes.

THE axis convention: arrays are (Z, Y, X). The affine maps the NIfTI index (x, y, z, 1) of voxel [z, y, x] to
millimetres in RAS: x grows to the patient's right, y to the front, z to the head. In a volume "in RAS" the
array axes themselves run (to within 45 degrees) that way.

NIfTI holds affines as float32. Affines here are rounded to that from the start, so that a volume is the same, and has
the same digest, before it is written and after it is read.
"""

# mypy: allow-untyped-calls
# (nibabel ships without annotations)

import hashlib
from dataclasses import dataclass

import numpy as np
from nibabel import orientations
from numpy.typing import NDArray

INT16 = np.iinfo(np.int16)


@dataclass(frozen=True, eq=False)
class Volume:
    """Hounsfield units with their place in space."""

    hu: NDArray[np.int16]  # (Z, Y, X)
    affine: NDArray[np.float64]  # (4, 4), index (x, y, z, 1) -> RAS mm, of float32 precision

    def __post_init__(self) -> None:
        _check(self.hu, np.dtype(np.int16), self.affine)
        object.__setattr__(self, "affine", _as_in_a_file(self.affine))

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxels as (z, y, x)."""
        return _spacing_mm(self.affine)

    def digest(self) -> str:
        """SHA-256 of voxels, affine and shape: the `content_sha256` of the conversion manifest.

        It does not change with the compression of the file that holds the volume.
        """
        content = hashlib.sha256(np.ascontiguousarray(self.hu).data)
        content.update(self.affine.tobytes() + str(self.hu.shape).encode())
        return content.hexdigest()


@dataclass(frozen=True, eq=False)
class ScalarVolume:
    """A map over a volume's grid, e.g. saliency; NaN where nothing was seen."""

    values: NDArray[np.float32]  # (Z, Y, X)
    affine: NDArray[np.float64]  # (4, 4), index (x, y, z, 1) -> RAS mm

    def __post_init__(self) -> None:
        _check(self.values, np.dtype(np.float32), self.affine)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxels as (z, y, x)."""
        return _spacing_mm(self.affine)


def orientation_of(affine: NDArray[np.float64]) -> str:
    """Where the NIfTI axes x, y, z point, as three letters, e.g. "RAS" or "LPS"."""
    return "".join(orientations.aff2axcodes(affine))


def to_ras(volume: Volume) -> Volume:
    """The same voxels with axes flipped and swapped, never resampled, so that they run nearest to RAS."""
    current = orientations.io_orientation(volume.affine)
    if np.array_equal(current, orientations.axcodes2ornt("RAS")):
        return volume
    hu_xyz = orientations.apply_orientation(volume.hu.T, current)
    affine = volume.affine @ orientations.inv_ornt_aff(current, volume.hu.T.shape)
    return Volume(np.ascontiguousarray(hu_xyz.T), affine)


def _check(values: NDArray[np.generic], dtype: np.dtype[np.generic], affine: NDArray[np.float64]) -> None:
    if values.ndim != 3 or values.dtype != dtype:
        raise ValueError(f"expected {dtype} (Z, Y, X), found {values.dtype} with {values.ndim} axes")
    if affine.shape != (4, 4) or affine.dtype != np.float64:
        raise ValueError(f"expected a float64 (4, 4) affine, found {affine.dtype} {affine.shape}")


def _as_in_a_file(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rounded to float32, and without the sign of zero."""
    return affine.astype(np.float32).astype(np.float64) + 0.0


def _spacing_mm(affine: NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0)
    return float(z), float(y), float(x)
