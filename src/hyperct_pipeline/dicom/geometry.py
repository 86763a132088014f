"""Where the images of a stack lie: DICOM patient coordinates (LPS, mm) in, one RAS affine out."""

import numpy as np
from numpy.typing import NDArray

from hyperct_pipeline.dicom.header import Header

SAME_POSITION_MM = 0.01
# Pixels of any CT; a spacing or position beyond is a lie of the header.
PIXEL_SPACING_RANGE_MM = (0.02, 10.0)
FARTHEST_POSITION_MM = 1e5
LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])

Headers = tuple[Header, ...]


def has_geometry(headers: Headers) -> bool:
    """Whether every image says where it lies, in numbers that a scanner can have written."""
    return all(_is_placed(header) for header in headers)


def _is_placed(header: Header) -> bool:
    position = header.vector("ImagePositionPatient", 3)
    spacing = header.vector("PixelSpacing", 2)
    low, high = PIXEL_SPACING_RANGE_MM
    return (
        position is not None
        and spacing is not None
        and header.vector("ImageOrientationPatient", 6) is not None
        and max(map(abs, position)) <= FARTHEST_POSITION_MM
        and low <= min(spacing) <= max(spacing) <= high
        and header.count("Rows") > 0
        and header.count("Columns") > 0
    )


def distances_mm(headers: Headers) -> NDArray[np.float64]:
    """(N,) places of the images along the normal of the first."""
    return np.asarray(positions(headers) @ slice_normal(headers[0]))


def distinct_distances_mm(headers: Headers) -> NDArray[np.float64]:
    """Sorted places along the normal at which there is at least one image. Needs `has_geometry`."""
    distances = np.sort(distances_mm(headers))
    return distances[np.diff(distances, prepend=-np.inf) > SAME_POSITION_MM]


def slice_normal(header: Header) -> NDArray[np.float64]:
    """Direction in which slices follow each other, (3,) LPS."""
    (a, b, c), (d, e, f) = image_axes(header)
    return np.array([b * f - c * e, c * d - a * f, a * e - b * d])  # np.cross takes 30 times as long


def positions(headers: Headers) -> NDArray[np.float64]:
    """(N, 3) LPS mm, centre of the first pixel of each image."""
    return np.array([header.numbers["ImagePositionPatient"] for header in headers])


def image_axes(header: Header) -> NDArray[np.float64]:
    """(2, 3): directions of a row and of a column of the image."""
    return np.array(header.numbers["ImageOrientationPatient"]).reshape(2, 3)


def image_affine(header: Header) -> NDArray[np.float64]:
    """(3, 3) columns: step along a row, step along a column, first pixel, as RAS mm (DICOM PS3.3 C.7.6.2.1.1)."""
    along_row, along_column = image_axes(header)
    row_distance, column_distance = header.numbers["PixelSpacing"]  # it names the distance between rows first
    position = np.array(header.numbers["ImagePositionPatient"])
    columns = [along_row * column_distance, along_column * row_distance, position]
    return np.asarray(np.stack(columns, axis=1) * LPS_TO_RAS[:, None])


def stack_affine(headers: Headers, n_slices: int) -> NDArray[np.float64]:
    """(4, 4) affine of a sorted stack: index (x, y, z, 1), x along a row of the image -> RAS mm.

    Args:
        headers: sorted; the first and last are the ends of the stack.
        n_slices: of the regular grid between them.
    """
    first, last = positions(headers)[[0, -1]] * LPS_TO_RAS
    affine = np.eye(4)
    affine[:3, [0, 1, 3]] = image_affine(headers[0])
    affine[:3, 2] = (last - first) / (n_slices - 1)
    return affine
