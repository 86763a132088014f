"""The header gate: may these images be stacked into one volume? Decided from headers, before any decoding.

No converter may be handed a raw folder: each of them turns some of the faults below into a wrong volume without
a word. The gate refuses rather than repairs; only copies of one image are dropped, and slices that are missing are
filled in only where the settings say so.
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from hyperct_pipeline.dicom.geometry import (
    SAME_POSITION_MM,
    Headers,
    distances_mm,
    distinct_distances_mm,
    has_geometry,
    image_axes,
    positions,
    slice_normal,
    stack_affine,
)
from hyperct_pipeline.dicom.header import Header
from hyperct_pipeline.dicom.pixel_format import LOSSY, pixel_reasons, rescale_reasons
from hyperct_pipeline.dicom.series import SeriesGroup

__all__ = [
    "GateConfig", "Stack", "check_stack", "distinct_distances_mm", "has_geometry", "slice_normal", "stack_affine",
]  # fmt: skip


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class GateConfig:
    """How regular a stack must be.

    Raises:
        ValueError: a tolerance that no scanner keeps.
    """

    spacing_tolerance_mm: float = 0.02  # deviation of any gap between slices from the median gap ...
    spacing_tolerance_share: float = 0.01  # ... or this share of the gap, whichever is more
    max_tilt_deg: float = 0.5  # angle between the slice normal and the line through the slice positions
    max_corner_error_mm: float = 0.5  # of any slice against the regular grid
    max_interpolated_slices: int = 0  # missing slices within a stack that may be filled in between neighbours

    def __post_init__(self) -> None:
        spacings = (self.spacing_tolerance_mm, self.spacing_tolerance_share)
        if not all(tolerance > 0 for tolerance in (*spacings, self.max_tilt_deg, self.max_corner_error_mm)):
            raise ValueError("tolerances of the gate must be positive: scanners round")
        if self.max_interpolated_slices < 0:
            raise ValueError("max_interpolated_slices must not be negative")


@dataclasses.dataclass(frozen=True)
class Stack:
    """Images sorted along the normal, and why they may not be stacked where there is a reason."""

    headers: Headers = dataclasses.field(repr=False)
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    copies: Headers = dataclasses.field(default=(), repr=False)  # dropped: they bear the SOPInstanceUID of another
    slots: tuple[int, ...] = dataclasses.field(default=(), repr=False)  # of each image in the grid, first is 0

    @property
    def state(self) -> list[tuple[str, int, int]]:
        """Changes when a file is added, removed or rewritten."""
        return [(header["SOPInstanceUID"], header.size, header.modified_ns) for header in (*self.headers, *self.copies)]

    @property
    def n_slices(self) -> int:
        """Slices of the regular grid, those to be filled in as well."""
        return self.slots[-1] + 1


def check_stack(group: SeriesGroup, config: GateConfig) -> Stack:
    """Sorts the images of a group and says whether they are one regular stack."""
    headers, copies = _without_copies(group.headers)
    reasons = pixel_reasons(headers) + rescale_reasons(headers) + _content_reasons(headers)
    reasons += ["SOP_CONFLICT"] * _contradict(headers, copies)
    warnings = _warnings(headers, group.problems) | ({"DUPLICATE_SOP"} if copies else set())
    if "MATRIX_VARIES" in group.problems:
        reasons.append("MATRIX_VARIES")
    slots: tuple[int, ...] = ()
    if not has_geometry(headers):
        reasons.append("NO_GEOMETRY")
    else:
        headers = tuple(headers[index] for index in np.argsort(distances_mm(headers), kind="stable"))
        geometry, slots = _geometry(headers, config)
        reasons += geometry
        if slots and slots[-1] >= len(slots):
            warnings.add("INTERPOLATED_SLICES")
    return Stack(headers, tuple(dict.fromkeys(reasons)), tuple(sorted(warnings)), copies, slots)


def _without_copies(headers: Headers) -> tuple[Headers, Headers]:
    """One image per SOPInstanceUID, and the others; a blank one names nothing, so all of those stay."""
    kept: dict[str, Header] = {}
    copies = []
    for header in headers:
        if kept.setdefault(header["SOPInstanceUID"] or header.path, header) is not header:
            copies.append(header)
    return tuple(kept.values()), tuple(copies)


def _contradict(headers: Headers, copies: Headers) -> bool:
    """Whether an image and its copy differ by header; pixels are compared when they are read."""
    kept = {header["SOPInstanceUID"]: header for header in headers}
    return any(kept[copy["SOPInstanceUID"]].numbers != copy.numbers for copy in copies)


def _content_reasons(headers: Headers) -> list[str]:
    reasons = []
    if len({header["PatientID"] for header in headers}) > 1:
        reasons.append("MIXED_PATIENTS")
    if len({header["ConvolutionKernel"] for header in headers}) > 1:
        reasons.append("MIXED_RECONSTRUCTIONS")
    return reasons


def _warnings(headers: Headers, problems: tuple[str, ...]) -> set[str]:
    warnings = set(problems) - {"MATRIX_VARIES"}
    if len({(header.number("RescaleSlope"), header.number("RescaleIntercept")) for header in headers}) > 1:
        warnings.add("RESCALE_VARIES")
    if any(header.transfer_syntax in LOSSY or header["LossyImageCompression"] == "01" for header in headers):
        warnings.add("LOSSY")
    if not headers[0].image_type:
        warnings.add("IMAGETYPE_MISSING")
    return warnings


def _geometry(headers: Headers, config: GateConfig) -> tuple[list[str], tuple[int, ...]]:
    """Reasons against the geometry of a sorted stack, or the slot of each image in the regular grid."""
    axes = image_axes(headers[0])
    if not np.allclose(axes @ axes.T, np.eye(2), atol=1e-3):
        return ["BAD_ORIENTATION"], ()
    reasons = _plane_reasons(headers, config)
    gaps = np.diff(distances_mm(headers))
    if len(gaps) == 0:
        return [*reasons, "TOO_FEW_SLICES"], ()
    if gaps.min() <= SAME_POSITION_MM:
        return [*reasons, "DUPLICATE_POSITION"], ()
    spacing, steps = _spacing(gaps, config)
    reasons += spacing or _line_reasons(headers, np.cumsum([0, *steps]), config)
    return reasons, tuple(int(slot) for slot in np.cumsum([0, *steps])) if not reasons else ()


def _plane_reasons(headers: Headers, config: GateConfig) -> list[str]:
    """Whether all images have the same pixels; compared is what the last pixel is off, not what the text differs by."""
    reasons = []
    extent = max(headers[0].count("Rows"), headers[0].count("Columns"))
    spacings = np.array([header.numbers["PixelSpacing"] for header in headers])
    if (np.ptp(spacings, axis=0) * extent > config.max_corner_error_mm).any():
        reasons.append("PIXEL_SPACING_VARIES")
    cosines = np.array([header.numbers["ImageOrientationPatient"] for header in headers])
    if (np.ptp(cosines, axis=0) * extent * spacings.max() > config.max_corner_error_mm).any():
        reasons.append("ORIENTATION_VARIES")
    return reasons


def _spacing(gaps_mm: NDArray[np.float64], config: GateConfig) -> tuple[list[str], NDArray[np.int64]]:
    """Reasons against the gaps between neighbours, and how many steps of the grid each one is."""
    usual = float(np.median(gaps_mm))
    tolerance = max(config.spacing_tolerance_mm, config.spacing_tolerance_share * usual)
    steps = np.maximum(np.round(gaps_mm / usual), 1).astype(np.int64)
    if np.abs(gaps_mm - usual).max() <= tolerance:
        return [], np.ones(len(gaps_mm), np.int64)
    if not (np.abs(gaps_mm - steps * usual) <= tolerance * steps).all():
        return ["VARIABLE_SPACING"], steps
    missing = int(steps.sum()) - len(steps)
    return (["MISSING_SLICE"] if missing > config.max_interpolated_slices else []), steps


def _line_reasons(headers: Headers, slots: NDArray[np.int64], config: GateConfig) -> list[str]:
    """Whether the slices lie on one line, and the line along their normal."""
    places = positions(headers)
    step = places[-1] - places[0]
    direction = step / np.linalg.norm(step)
    tilt_deg = np.degrees(np.arccos(np.clip(direction @ slice_normal(headers[0]), -1, 1)))
    if tilt_deg > config.max_tilt_deg:
        return ["GANTRY_TILT"]
    line = places[0] + (slots / slots[-1])[:, None] * step
    error_mm = np.linalg.norm(places - line, axis=1).max()
    return ["POSITION_WANDERS"] if error_mm > config.max_corner_error_mm else []
