"""Is a converted volume what a chest CT looks like? One number per check, limits in the parameters, one verdict.

A check never judges; it measures. Limits turn its number into accept, warn or reject, and the worst one counts.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from hyperct_pipeline.volumes.volume import Volume, orientation_of

ACCEPT, WARN, REJECT = "accept", "warn", "reject"
# Shares and percentiles come from about so many voxels, evenly thinned in plane: exact to a per mille.
SAMPLE_VOXELS = 2_000_000

# Borders in HU; what lies between two tissues counts for neither.
AIR_BELOW_HU = -950
LUNG_HU = (-950, -600)
SOFT_TISSUE_HU = (-50, 150)
BONE_ABOVE_HU = 300


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Limits:
    """What a check's number may be; null sets no limit. A number on the limit is still good."""

    reject_below: float | None = None
    warn_below: float | None = None
    warn_above: float | None = None
    reject_above: float | None = None

    def judge(self, value: float) -> tuple[str, str]:
        """Verdict, and the side it fell on: LOW, HIGH or blank."""
        for verdict, low, high in (
            (REJECT, self.reject_below, self.reject_above),
            (WARN, self.warn_below, self.warn_above),
        ):
            if low is not None and value < low:
                return verdict, "LOW"
            if high is not None and value > high:
                return verdict, "HIGH"
        return ACCEPT, ""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class QualityConfig:
    """Limits by name of the check, and how the page to look at is made."""

    limits: dict[str, Limits]
    montage_studies: int = 16  # most studies on the page, worst verdicts first

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.limits) - set(CHECKS)):
            raise ValueError(f"no such checks: {unknown}; there are {sorted(CHECKS)}")


@dataclasses.dataclass(frozen=True)
class Quality:
    """Numbers of all checks, the verdict, and codes such as LOW_LUNG_SHARE for what is wrong."""

    numbers: dict[str, float]
    verdict: str
    reasons: tuple[str, ...]


def judge(volume: Volume, config: QualityConfig) -> Quality:
    """Measures a volume by all checks and compares with the limits."""
    step = max(1, round((volume.hu.size / SAMPLE_VOXELS) ** 0.5))
    voxels = volume.hu[:, ::step, ::step].ravel()
    values = {name: check(volume, voxels) for name, check in CHECKS.items()}
    verdicts, reasons = {ACCEPT}, []
    for name, limits in config.limits.items():
        verdict, side = limits.judge(values[name])
        verdicts.add(verdict)
        if side:
            reasons.append(f"{side}_{name.upper()}")
    worst = next(verdict for verdict in (REJECT, WARN, ACCEPT) if verdict in verdicts)
    return Quality(values, worst, tuple(reasons))


Voxels = NDArray[np.int16]


def slice_count(volume: Volume, _: Voxels) -> float:
    """Number of slices."""
    return float(volume.hu.shape[0])


def slice_spacing_mm(volume: Volume, _: Voxels) -> float:
    """Distance between slices."""
    return volume.spacing_mm[0]


def pixel_spacing_mm(volume: Volume, _: Voxels) -> float:
    """The larger of both in-plane spacings."""
    return max(volume.spacing_mm[1:])


def z_extent_mm(volume: Volume, _: Voxels) -> float:
    """Height of the scan, whole voxels."""
    return float(volume.hu.shape[0] * volume.spacing_mm[0])


def field_of_view_mm(volume: Volume, _: Voxels) -> float:
    """The smaller in-plane extent, whole voxels."""
    rows, columns = volume.hu.shape[1:]
    row_mm, column_mm = volume.spacing_mm[1:]
    return float(min(rows * row_mm, columns * column_mm))


def hu_percentile_1(_: Volume, voxels: Voxels) -> float:
    """1st percentile, HU: air or padding."""
    return float(np.percentile(voxels, 1))


def hu_percentile_50(_: Volume, voxels: Voxels) -> float:
    """Median, HU."""
    return float(np.percentile(voxels, 50))


def hu_percentile_99(_: Volume, voxels: Voxels) -> float:
    """99th percentile, HU: bone."""
    return float(np.percentile(voxels, 99))


def air_share(_: Volume, voxels: Voxels) -> float:
    """Share of voxels that are air or padding."""
    return float(np.mean(voxels < AIR_BELOW_HU))


def lung_share(_: Volume, voxels: Voxels) -> float:
    """Share of voxels that may be lung."""
    return float(np.mean((voxels >= LUNG_HU[0]) & (voxels < LUNG_HU[1])))


def soft_tissue_share(_: Volume, voxels: Voxels) -> float:
    """Share of voxels that may be soft tissue or blood."""
    return float(np.mean((voxels >= SOFT_TISSUE_HU[0]) & (voxels < SOFT_TISSUE_HU[1])))


def bone_share(_: Volume, voxels: Voxels) -> float:
    """Share of voxels that may be bone, calcium or metal."""
    return float(np.mean(voxels > BONE_ABOVE_HU))


def constant_slices(volume: Volume, _: Voxels) -> float:
    """Number of slices that show a single value."""
    return float(np.sum(volume.hu.min(axis=(1, 2)) == volume.hu.max(axis=(1, 2))))


def off_ras_axes(volume: Volume, _: Voxels) -> float:
    """Number of axes that do not run as RAS wants."""
    return float(sum(a != b for a, b in zip(orientation_of(volume.affine), "RAS", strict=True)))


CHECKS: dict[str, Callable[[Volume, Voxels], float]] = {
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
        off_ras_axes,
    )
}
