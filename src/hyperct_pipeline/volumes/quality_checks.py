"""What is measured in a volume, one number per check. A check never judges.

Three checks of orientation look at the patient, not at the header, because a wrong header looks right to itself: the
spine lies behind the middle of the body, the lungs taper off into the belly and not into the neck, the liver is on the
right. Measured over a real chest CT (LIDC-IDRI 0001) and 28 phantoms, each flip changes the sign of its check.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hyperct_pipeline.volumes.volume import Volume, to_ras

# Part of the key of finished measurements: raise it when the same volume gives other numbers.
CHECKS_VERSION = "2"
# Shares, percentiles and positions come from about so many voxels, evenly thinned in plane: exact to a per mille.
SAMPLE_VOXELS = 2_000_000

# Borders in HU; what lies between two tissues counts for neither.
AIR_BELOW_HU = -950
LUNG_HU = (-950, -600)
BODY_ABOVE_HU = -500
SOFT_TISSUE_HU = (-50, 150)
BONE_ABOVE_HU = 300


@dataclass(frozen=True, eq=False)
class Examined:
    """One study on the table."""

    volume: Volume  # axes in RAS
    sample: NDArray[np.int16]  # (Z, Y, X) HU, every slice, thinned in plane
    sample_spacing_mm: tuple[float, float, float]  # (z, y, x)
    warnings: frozenset[str]  # codes that the conversion gave


def measure(volume: Volume, warnings: frozenset[str] = frozenset()) -> dict[str, float | None]:
    """All checks by name; None where a number is not defined, such as the place of bones where there are none."""
    upright = to_ras(volume)
    step = max(1, round((upright.hu.size / SAMPLE_VOXELS) ** 0.5))
    z_mm, y_mm, x_mm = upright.spacing_mm
    examined = Examined(upright, upright.hu[:, ::step, ::step], (z_mm, y_mm * step, x_mm * step), warnings)
    return {name: check(examined) for name, check in CHECKS.items()}


def slice_count(study: Examined) -> float:
    """Number of axial slices."""
    return float(study.volume.hu.shape[0])


def slice_spacing_mm(study: Examined) -> float:
    """Distance between slices."""
    return study.volume.spacing_mm[0]


def pixel_spacing_mm(study: Examined) -> float:
    """The larger of both in-plane spacings."""
    return max(study.volume.spacing_mm[1:])


def z_extent_mm(study: Examined) -> float:
    """Height of the scan, whole voxels."""
    return float(study.volume.hu.shape[0] * study.volume.spacing_mm[0])


def field_of_view_mm(study: Examined) -> float:
    """The smaller in-plane extent, whole voxels."""
    rows, columns = study.volume.hu.shape[1:]
    row_mm, column_mm = study.volume.spacing_mm[1:]
    return float(min(rows * row_mm, columns * column_mm))


def hu_percentile_1(study: Examined) -> float:
    """1st percentile, HU: air or padding."""
    return float(np.percentile(study.sample, 1))


def hu_percentile_50(study: Examined) -> float:
    """Median, HU."""
    return float(np.percentile(study.sample, 50))


def hu_percentile_99(study: Examined) -> float:
    """99th percentile, HU: bone."""
    return float(np.percentile(study.sample, 99))


def air_share(study: Examined) -> float:
    """Share of voxels that are air or padding."""
    return float(np.mean(study.sample < AIR_BELOW_HU))


def lung_share(study: Examined) -> float:
    """Share of voxels that may be lung."""
    return float(np.mean(_between(study.sample, LUNG_HU)))


def soft_tissue_share(study: Examined) -> float:
    """Share of voxels that may be soft tissue or blood."""
    return float(np.mean(_between(study.sample, SOFT_TISSUE_HU)))


def bone_share(study: Examined) -> float:
    """Share of voxels that may be bone, calcium or metal."""
    return float(np.mean(study.sample > BONE_ABOVE_HU))


def constant_slices(study: Examined) -> float:
    """Number of slices that show a single value."""
    return float(np.sum(study.volume.hu.min(axis=(1, 2)) == study.volume.hu.max(axis=(1, 2))))


def bone_behind_centre_mm(study: Examined) -> float | None:
    """How far the middle of the bones lies behind that of the body; the spine outweighs ribs and sternum."""
    body = _centre(study.sample > BODY_ABOVE_HU, axis=1)
    bone = _centre(study.sample > BONE_ABOVE_HU, axis=1)
    return None if body is None or bone is None else (body - bone) * study.sample_spacing_mm[1]


def lung_above_belly_share(study: Examined) -> float:
    """Lung share of the top quarter of the slices less that of the bottom quarter, where the liver stands."""
    quarter = max(1, len(study.sample) // 4)
    top, bottom = study.sample[-quarter:], study.sample[:quarter]
    return float(np.mean(_between(top, LUNG_HU)) - np.mean(_between(bottom, LUNG_HU)))


def liver_right_of_centre_mm(study: Examined) -> float | None:
    """How far soft tissue in the bottom quarter lies to the right of the body there; the liver outweighs the rest."""
    bottom = study.sample[: max(1, len(study.sample) // 4)]
    body = _centre(bottom > BODY_ABOVE_HU, axis=2)
    soft_tissue = _centre(_between(bottom, SOFT_TISSUE_HU), axis=2)
    return None if body is None or soft_tissue is None else (soft_tissue - body) * study.sample_spacing_mm[2]


def unusual_orientation(study: Examined) -> float:
    """1 where the header's axes were not those of a supine patient scanned head first, else 0."""
    return float("ORIENTATION_NOT_LPS" in study.warnings)


def lossy(study: Examined) -> float:
    """1 where the images were compressed with loss at some time, else 0."""
    return float("LOSSY" in study.warnings)


def _between(hu: NDArray[np.int16], border_hu: tuple[int, int]) -> NDArray[np.bool_]:
    return (hu >= border_hu[0]) & (hu < border_hu[1])


def _centre(mask: NDArray[np.bool_], axis: int) -> float | None:
    """Mean index of a mask along an axis."""
    counts = mask.sum(axis=tuple(other for other in range(3) if other != axis))
    return float(counts @ np.arange(len(counts)) / counts.sum()) if counts.any() else None


CHECKS: dict[str, Callable[[Examined], float | None]] = {
    check.__name__: check
    for check in (
        slice_count,
        slice_spacing_mm,
        pixel_spacing_mm,
        z_extent_mm,
        field_of_view_mm,
        hu_percentile_1,
        hu_percentile_50,
        hu_percentile_99,
        air_share,
        lung_share,
        soft_tissue_share,
        bone_share,
        constant_slices,
        bone_behind_centre_mm,
        lung_above_belly_share,
        liver_right_of_centre_mm,
        unusual_orientation,
        lossy,
    )
}
