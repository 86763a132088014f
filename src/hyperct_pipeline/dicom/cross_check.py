"""The first, middle and last image once more, by another decoder, looked for in the finished volume.

pydicom reads each image on its own, with imagecodecs where it has no decoder itself; its pixels must stand in the RAS
volume at the places where its own header puts them. So a wrong value, a swapped or mirrored axis, and a reversed or
shifted stack all show.
"""

import warnings
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from hyperct_pipeline.dicom.codestream import DecodeError
from hyperct_pipeline.dicom.geometry import Headers, image_affine
from hyperct_pipeline.dicom.header import Header
from hyperct_pipeline.dicom.pixel_format import JPEG_LOSSLESS, NATIVE, stored_type
from hyperct_pipeline.volumes.volume import Volume


def cross_check(volume: Volume, headers: Headers, tolerance_hu: float, tolerance_mm: float) -> bool:
    """Whether there was a second decoder to check with; geometry is checked in any case.

    Args:
        volume: the finished volume.
        headers: of the stack, sorted.
        tolerance_hu: largest difference between two decoders.
        tolerance_mm: how far a corner may lie from where its header puts it.

    Raises:
        DecodeError: CROSS_CHECK_FAILED for other values, GEOMETRY_MISMATCH for other places.
    """
    checked = True
    for index in sorted({0, len(headers) // 2, len(headers) - 1}):
        header = headers[index]
        placed = plane_of(volume, header, tolerance_mm)
        if not _has_decoder(header.transfer_syntax):
            checked = False
            continue
        hu = decode_with_pydicom(header)
        if hu.shape != placed.shape or np.abs(hu - placed).max() > tolerance_hu:
            raise DecodeError("CROSS_CHECK_FAILED")
    return checked


def plane_of(volume: Volume, header: Header, tolerance_mm: float) -> NDArray[np.int16]:
    """(rows, columns) voxels at the places of an image's pixels.

    Raises:
        DecodeError: a corner of the image is no voxel of the volume.
    """
    rows, columns = header.count("Rows"), header.count("Columns")
    inverse = np.linalg.inv(volume.affine)
    to_index = inverse[:3, :3] @ image_affine(header) + np.outer(inverse[:3, 3], [0, 0, 1])  # of (column, row, 1)
    corners = np.array([(c, r, 1) for r in (0, rows - 1) for c in (0, columns - 1)]) @ to_index.T  # (4, xyz)
    nearest = np.rint(corners)
    error_mm = np.linalg.norm((corners - nearest) @ volume.affine[:3, :3].T, axis=1).max()
    size = np.array(volume.hu.shape[::-1])
    if error_mm > tolerance_mm or (nearest < 0).any() or (nearest >= size).any():
        raise DecodeError("GEOMETRY_MISMATCH")
    step = np.rint(to_index[:, :2]).astype(int)  # along a row, along a column: one voxel each in some axis
    x, y, z = (
        int(nearest[0, axis]) + np.arange(rows)[:, None] * step[axis, 1] + np.arange(columns) * step[axis, 0]
        for axis in range(3)
    )
    return np.asarray(volume.hu[z, y, x])


def decode_with_pydicom(header: Header) -> NDArray[np.float64]:
    """(rows, columns) HU of one image, by another decoder than SimpleITK's.

    Raises:
        DecodeError: pydicom cannot decode it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote header values
            dataset = pydicom.dcmread(header.path, force=True)
            if "TransferSyntaxUID" not in dataset.file_meta:
                dataset.file_meta.TransferSyntaxUID = UID(header.transfer_syntax)
            stored = _stored(dataset, header)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - plugins raise anything; it becomes a row with a reason
        raise DecodeError("DECODE_FAILED") from None
    return stored.astype(np.float64) * header.numbers["RescaleSlope"][0] + header.numbers["RescaleIntercept"][0]


def _has_decoder(transfer_syntax: str) -> bool:
    return transfer_syntax in NATIVE | JPEG_LOSSLESS or get_decoder(UID(transfer_syntax)).is_available


def _stored(dataset: pydicom.Dataset, header: Header) -> NDArray[np.integer[Any]]:
    """(rows, columns) as stored, before rescale."""
    if header.transfer_syntax not in JPEG_LOSSLESS:
        return np.asarray(dataset.pixel_array)
    import imagecodecs  # the one permissively licensed decoder of it beside that of SimpleITK

    stream = next(generate_frames(dataset.PixelData, number_of_frames=1))
    _, bits, signed = stored_type(header)
    raw = imagecodecs.jpegsof3_decode(stream).astype(np.int32) & ((1 << bits) - 1)
    return np.where(raw >= 1 << (bits - 1), raw - (1 << bits), raw) if signed else raw
