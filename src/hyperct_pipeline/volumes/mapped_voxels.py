"""Voxels as an ordinary .npy array (np.load reads it), which is mapped into memory and not read before it is used."""

import io
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray


def write_mapped(stream: BinaryIO, hu: NDArray[np.int16]) -> None:
    """Write what np.save writes for int16 (Z, Y, X)."""
    stream.write(_npy_header(hu.shape))
    stream.write(hu.data)


def mapped_voxels(path: Path, shape: tuple[int, int, int], array_end: int) -> NDArray[np.int16]:
    """The read-only array, mapped.

    Args:
        path: of the file.
        shape: that the description tells.
        array_end: byte after the array.

    Raises:
        ValueError: header and size of the array do not say what the description says.
    """
    header = _npy_header(shape)
    with path.open("rb") as stream:
        if stream.read(len(header)) != header or len(header) + 2 * int(np.prod(shape)) != array_end:
            raise ValueError("array and description do not agree")
    return np.memmap(path, dtype=np.int16, mode="r", offset=len(header), shape=shape)


def _npy_header(shape: tuple[int, ...]) -> bytes:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<i2", "fortran_order": False, "shape": shape})
    return header.getvalue()
