"""Pixels of a stack as HU, decoded by SimpleITK from the explicitly sorted list of files.

Texts of third-party errors may hold paths and header values: only reason codes leave this module.
"""

# mypy: allow-untyped-calls
# (SimpleITK ships without annotations)

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperct_pipeline.dicom.codestream import DecodeError, check_codestream
from hyperct_pipeline.dicom.gate import Stack
from hyperct_pipeline.dicom.geometry import Headers
from hyperct_pipeline.dicom.header import Header
from hyperct_pipeline.dicom.pixel_format import NATIVE, stored_type
from hyperct_pipeline.volumes.volume import INT16

# Named, so that no reader of another format is tried on a file.
_DICOM_READER = "GDCMImageIO"
_OUT_OF_MEMORY = ("bad_alloc", "allocate memory", "Cannot allocate")


def checked_digest(stack: Stack) -> str:
    """SHA-256 over the files of a stack; each is read once, and its compressed stream held against its header.

    Raises:
        DecodeError: a file cannot be read or changed, its stream is broken, or a copy has other pixels.
    """
    digest = hashlib.sha256()
    copied = {copy["SOPInstanceUID"] for copy in stack.copies}
    kept: dict[str, bytes] = {}
    for header in stack.headers:
        content = _content(header)
        digest.update(content)
        pixels = content[len(content) - header.pixel_bytes :]
        if header.transfer_syntax not in NATIVE:
            rows, columns = header.count("Rows"), header.count("Columns")
            check_codestream(pixels, header.transfer_syntax, rows, columns, header.count("BitsAllocated") // 8)
        if header["SOPInstanceUID"] in copied:
            kept[header["SOPInstanceUID"]] = hashlib.sha256(pixels).digest()
    for copy in stack.copies:
        content = _content(copy)
        if hashlib.sha256(content[len(content) - copy.pixel_bytes :]).digest() != kept[copy["SOPInstanceUID"]]:
            raise DecodeError("SOP_CONFLICT")
    return digest.hexdigest()


def decode(headers: Headers) -> NDArray[np.int16]:
    """(Z, Y, X) HU in the order of the headers.

    Raises:
        DecodeError: SimpleITK cannot decode a file, or values are no 16-bit HU.
        MemoryError: more than the process may take.
    """
    shape = (len(headers), headers[0].count("Rows"), headers[0].count("Columns"))
    formats = {(h.number("RescaleSlope"), h.number("RescaleIntercept"), stored_type(h)) for h in headers}
    try:
        with _ascii_paths(headers) as paths:
            values = _read_series(paths) if len(formats) == 1 else _read_each(paths)
    except (RuntimeError, ValueError, TypeError) as error:  # what SimpleITK raises
        if any(phrase in str(error) for phrase in _OUT_OF_MEMORY):
            raise MemoryError from None
        raise DecodeError("DECODE_FAILED") from None
    if values.shape != shape:
        raise DecodeError("DECODE_FAILED")
    return to_int16(values)


def to_int16(values: NDArray[Any]) -> NDArray[np.int16]:
    """Values rounded to whole HU.

    Raises:
        DecodeError: a value does not fit 16 bits or is not a number.
    """
    if not INT16.min <= values.min() <= values.max() <= INT16.max:
        raise DecodeError("HU_OUT_OF_RANGE")
    whole = values if np.issubdtype(values.dtype, np.integer) else np.rint(values)
    return whole.astype(np.int16, copy=False)


def _content(header: Header) -> bytes:
    try:
        content = Path(header.path).read_bytes()
    except OSError:
        raise DecodeError("FILE_UNREADABLE") from None
    if len(content) != header.size:
        raise DecodeError("FILE_CHANGED")
    return content


def _read_series(paths: list[str]) -> NDArray[Any]:
    import SimpleITK as sitk  # noqa: N813

    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # prints header values
    reader = sitk.ImageSeriesReader()
    reader.SetImageIO(_DICOM_READER)
    reader.SetFileNames(paths)
    return np.asarray(sitk.GetArrayFromImage(reader.Execute()))


def _read_each(paths: list[str]) -> NDArray[Any]:
    """The series reader takes its voxel type from the first file, which may be too narrow for the others."""
    import SimpleITK as sitk  # noqa: N813

    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # prints header values
    return np.concatenate([sitk.GetArrayFromImage(sitk.ReadImage(path, imageIO=_DICOM_READER)) for path in paths])


@contextmanager
def _ascii_paths(headers: Headers) -> Iterator[list[str]]:
    """Paths that C++ can open: a name that is no ASCII text is opened here and passed on by its descriptor."""
    opened: list[int] = []
    paths = []
    try:
        for header in headers:
            if header.path.isascii() and header.path.isprintable():
                paths.append(header.path)
            else:
                opened.append(os.open(header.path, os.O_RDONLY))
                paths.append(f"/proc/self/fd/{opened[-1]}")
        yield paths
    except OSError:
        raise DecodeError("FILE_UNREADABLE") from None
    finally:
        for descriptor in opened:
            os.close(descriptor)
