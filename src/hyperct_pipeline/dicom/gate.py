"""The header gate: may these images be stacked into one volume? Decided from headers, before any decoding.

No converter may be handed a raw folder: each of them turns some of the faults below into a wrong volume without
a word. The gate refuses rather than repairs; only exact duplicates of a file are dropped.
Positions and directions are in DICOM patient coordinates (LPS, mm).
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from hyperct_pipeline.dicom.header import Header
from hyperct_pipeline.dicom.series import SeriesGroup

# UID suffixes below 1.2.840.10008.1.2 that SimpleITK decodes: native, deflated, big endian, JPEG, JPEG-LS,
# JPEG 2000, RLE. Not: HTJ2K, JPEG XL, video, private ones.
_UID_ROOT = "1.2.840.10008.1.2"
UNCOMPRESSED = {_UID_ROOT, f"{_UID_ROOT}.1", f"{_UID_ROOT}.2"}
_LOSSY = {f"{_UID_ROOT}.4.{code}" for code in (50, 51, 81, 91)}
_LOSSLESS = {f"{_UID_ROOT}.4.{code}" for code in (57, 70, 80, 90)} | {f"{_UID_ROOT}.5", f"{_UID_ROOT}.1.99"}
SUPPORTED = UNCOMPRESSED | _LOSSY | _LOSSLESS

SAME_POSITION_MM = 0.01
# Slope 1 and intercept -1024 are usual; anything outside these ranges is no CT rescale.
SLOPE_RANGE = (1e-3, 10.0)
INTERCEPT_RANGE = (-32768.0, 1000.0)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class GateConfig:
    """How regular a stack must be."""

    spacing_tolerance_mm: float = 0.02  # deviation of any gap between slices from the median gap ...
    spacing_tolerance_share: float = 0.01  # ... or this share of the gap, whichever is more
    max_tilt_deg: float = 0.5  # angle between the slice normal and the line through the slice positions
    max_corner_error_mm: float = 0.5  # of any slice against the regular grid

    def __post_init__(self) -> None:
        if min(self.spacing_tolerance_mm, self.spacing_tolerance_share, self.max_tilt_deg) <= 0:
            raise ValueError("tolerances of the gate must be positive: scanners round")


@dataclasses.dataclass(frozen=True)
class Stack:
    """Images sorted along the normal, and why they may not be stacked where there is a reason."""

    headers: tuple[Header, ...] = dataclasses.field(repr=False)
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]


def check_stack(group: SeriesGroup, config: GateConfig) -> Stack:
    """Sorts the images of a group and says whether they are one regular stack."""
    headers, reasons, warnings = _without_duplicates(group.headers)
    reasons = _content_reasons(headers) + _rescale_reasons(headers) + reasons
    if "MATRIX_VARIES" in group.problems:
        reasons.append("MATRIX_VARIES")
    if not has_geometry(headers):
        reasons.append("NO_GEOMETRY")
    else:
        headers = tuple(headers[index] for index in np.argsort(_distances_mm(headers), kind="stable"))
        reasons += _geometry_reasons(headers, config)
    warnings += [problem for problem in group.problems if problem != "MATRIX_VARIES"]
    if len({(header.number("RescaleSlope"), header.number("RescaleIntercept")) for header in headers}) > 1:
        warnings.append("RESCALE_VARIES")
    if any(header.transfer_syntax in _LOSSY or header["LossyImageCompression"] == "01" for header in headers):
        warnings.append("LOSSY")
    if not headers[0].image_type:
        warnings.append("IMAGETYPE_MISSING")
    return Stack(headers, tuple(dict.fromkeys(reasons)), tuple(sorted(set(warnings))))


def has_geometry(headers: tuple[Header, ...]) -> bool:
    """Whether every image says where it lies."""
    return all(
        header.vector("ImagePositionPatient", 3)
        and header.vector("ImageOrientationPatient", 6)
        and min(header.vector("PixelSpacing", 2) or (0.0,)) > 0
        and header.count("Rows") > 0
        and header.count("Columns") > 0
        for header in headers
    )


def distinct_distances_mm(headers: tuple[Header, ...]) -> NDArray[np.float64]:
    """Sorted places along the normal at which there is at least one image. Needs `has_geometry`."""
    distances = np.sort(_distances_mm(headers))
    return distances[np.diff(distances, prepend=-np.inf) > SAME_POSITION_MM]


def slice_normal(header: Header) -> NDArray[np.float64]:
    """Direction in which slices follow each other, (3,) LPS."""
    (a, b, c), (d, e, f) = _axes(header)
    return np.array([b * f - c * e, c * d - a * f, a * e - b * d])  # np.cross takes 30 times as long


def stack_affine(headers: tuple[Header, ...]) -> NDArray[np.float64]:
    """(4, 4) affine of a sorted stack: index (x, y, z, 1), x along a row of the image -> RAS mm."""
    first, last = _positions(headers)[[0, -1]]
    rows, columns = _axes(headers[0])
    row_distance, column_distance = headers[0].numbers["PixelSpacing"]
    affine = np.eye(4)
    affine[:3, 0] = rows * column_distance  # PixelSpacing names the distance between rows first
    affine[:3, 1] = columns * row_distance
    affine[:3, 2] = (last - first) / (len(headers) - 1)
    affine[:3, 3] = first
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine  # LPS -> RAS


def _without_duplicates(headers: tuple[Header, ...]) -> tuple[tuple[Header, ...], list[str], list[str]]:
    """One image per SOPInstanceUID; a blank one names nothing, so all of those stay."""
    kept: dict[str, Header] = {}
    conflict = duplicate = False
    for header in headers:
        other = kept.setdefault(header["SOPInstanceUID"] or header.path, header)
        if other is not header:
            duplicate = True
            conflict |= (other.size, other.numbers) != (header.size, header.numbers)
    return tuple(kept.values()), ["SOP_CONFLICT"] * conflict, ["DUPLICATE_SOP"] * duplicate


def _content_reasons(headers: tuple[Header, ...]) -> list[str]:
    reasons = []
    if any(header.count("NumberOfFrames") > 1 for header in headers):
        reasons.append("MULTIFRAME")
    if any(header.pixel_bytes == 0 for header in headers):
        reasons.append("NO_PIXEL_DATA")
    elif any(_is_cut_short(header) for header in headers):
        reasons.append("TRUNCATED_FILE")
    if any(header.transfer_syntax not in SUPPORTED for header in headers):
        reasons.append("UNSUPPORTED_TRANSFER_SYNTAX")
    if any(header.count("SamplesPerPixel") != 1 for header in headers):
        reasons.append("NOT_GREYSCALE")
    if len({header["PatientID"] for header in headers}) > 1:
        reasons.append("MIXED_PATIENTS")
    if len({header["ConvolutionKernel"] for header in headers}) > 1:
        reasons.append("MIXED_RECONSTRUCTIONS")
    return reasons


def _is_cut_short(header: Header) -> bool:
    if header.transfer_syntax not in UNCOMPRESSED or header.pixel_bytes is None:
        return False
    expected = header.count("Rows") * header.count("Columns") * header.count("BitsAllocated") // 8
    return header.pixel_bytes < expected


def _rescale_reasons(headers: tuple[Header, ...]) -> list[str]:
    slopes = [header.number("RescaleSlope") for header in headers]
    intercepts = [header.number("RescaleIntercept") for header in headers]
    if None in slopes or None in intercepts:
        return ["NO_RESCALE"]
    sane = all(
        SLOPE_RANGE[0] <= slope <= SLOPE_RANGE[1] and INTERCEPT_RANGE[0] <= intercept <= INTERCEPT_RANGE[1]
        for slope, intercept in zip(slopes, intercepts, strict=True)
        if slope is not None and intercept is not None
    )
    reasons = [] if sane else ["BAD_RESCALE"]
    if any(header["RescaleType"].upper() not in ("", "HU", "US") for header in headers):
        reasons.append("RESCALE_NOT_HU")  # "US" is "unspecified" and usual in older CT
    return reasons


def _geometry_reasons(headers: tuple[Header, ...], config: GateConfig) -> list[str]:
    axes = _axes(headers[0])
    if not np.allclose(axes @ axes.T, np.eye(2), atol=1e-3):
        return ["BAD_ORIENTATION"]
    reasons = []
    # compared is what the last pixel is off, not what the text differs by
    extent = max(headers[0].count("Rows"), headers[0].count("Columns"))
    spacings = np.array([header.numbers["PixelSpacing"] for header in headers])
    if (np.ptp(spacings, axis=0) * extent > config.max_corner_error_mm).any():
        reasons.append("PIXEL_SPACING_VARIES")
    cosines = np.array([header.numbers["ImageOrientationPatient"] for header in headers])
    if (np.ptp(cosines, axis=0) * extent * spacings.max() > config.max_corner_error_mm).any():
        reasons.append("ORIENTATION_VARIES")
    gaps = np.diff(_distances_mm(headers))
    if len(gaps) == 0:
        return [*reasons, "TOO_FEW_SLICES"]
    if gaps.min() <= SAME_POSITION_MM:
        return [*reasons, "DUPLICATE_POSITION"]
    return reasons + (_spacing_reasons(gaps, config) or _line_reasons(headers, config))


def _spacing_reasons(gaps_mm: NDArray[np.float64], config: GateConfig) -> list[str]:
    usual = float(np.median(gaps_mm))
    tolerance = max(config.spacing_tolerance_mm, config.spacing_tolerance_share * usual)
    if np.abs(gaps_mm - usual).max() <= tolerance:
        return []
    steps = np.maximum(np.round(gaps_mm / usual), 1)
    whole_steps = np.abs(gaps_mm - steps * usual) <= tolerance * steps
    return ["MISSING_SLICE" if whole_steps.all() else "VARIABLE_SPACING"]


def _line_reasons(headers: tuple[Header, ...], config: GateConfig) -> list[str]:
    """Whether the slices lie on one line, and the line along their normal."""
    positions = _positions(headers)
    step = positions[-1] - positions[0]
    direction = step / np.linalg.norm(step)
    tilt_deg = np.degrees(np.arccos(np.clip(direction @ slice_normal(headers[0]), -1, 1)))
    if tilt_deg > config.max_tilt_deg:
        return ["GANTRY_TILT"]
    line = positions[0] + np.linspace(0, 1, len(headers))[:, None] * step
    error_mm = np.linalg.norm(positions - line, axis=1).max()
    return ["POSITION_WANDERS"] if error_mm > config.max_corner_error_mm else []


def _positions(headers: tuple[Header, ...]) -> NDArray[np.float64]:
    return np.array([header.numbers["ImagePositionPatient"] for header in headers])


def _distances_mm(headers: tuple[Header, ...]) -> NDArray[np.float64]:
    """(N,) places of the images along the normal of the first."""
    return np.asarray(_positions(headers) @ slice_normal(headers[0]))


def _axes(header: Header) -> NDArray[np.float64]:
    """(2, 3): directions of a row and of a column of the image."""
    return np.array(header.numbers["ImageOrientationPatient"]).reshape(2, 3)
