"""NIfTI files of volumes: NIfTI-1 with empty text fields, compressed and hashed in one pass; and reading them back.

The same volume gives the same bytes: no name and no time stand in the gzip header. Up to level 3 Intel's ISA-L
compresses at five times the speed of zlib to the same size.
"""

# mypy: allow-untyped-calls
# (nibabel ships without annotations)

import hashlib
import zlib
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import nibabel as nib
import numpy as np
from isal import isal_zlib
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from hyperct_pipeline.atomic_file import replacing
from hyperct_pipeline.errors import StoreError
from hyperct_pipeline.volumes.nifti_content import REMEDY, nifti_content
from hyperct_pipeline.volumes.volume import INT16, ScalarVolume, Volume

FASTEST_LEVEL, SMALLEST_LEVEL = 1, 9
_HIGHEST_ISAL_LEVEL = 3
_GZIP_FORMAT = 16 + zlib.MAX_WBITS
_CHUNK_BYTES = 4 << 20
_NO_EXTENSIONS = b"\0" * 4


@dataclass(frozen=True)
class Written:
    """A file that was written."""

    size: int  # bytes
    sha256: str


def write_nifti(volume: Volume | ScalarVolume, path: Path, gzip_level: int = FASTEST_LEVEL) -> Written:
    """Writes `path` in one piece: it appears under its name only when it is complete.

    Args:
        volume: any orientation.
        path: .nii or .nii.gz, replaced where it exists.
        gzip_level: 1 (fast) to 9 (small).
    """
    values = volume.hu if isinstance(volume, Volume) else volume.values
    digest = hashlib.sha256()
    compressor = _compressor(gzip_level) if path.suffix == ".gz" else _Uncompressed()
    voxels = np.ascontiguousarray(values).data.cast("B")
    with replacing(path) as draft, draft.open("wb") as stream:
        parts = (voxels[start : start + _CHUNK_BYTES] for start in range(0, len(voxels), _CHUNK_BYTES))
        size = 0
        for part in chain([_header(values, volume.affine)], parts, [None]):
            packed = compressor.flush() if part is None else compressor.compress(part)
            digest.update(packed)
            size += stream.write(packed)
    return Written(size, digest.hexdigest())


def read_nifti(path: Path) -> Volume:
    """Reads a CT; values that are not int16 after rescale are rounded to it.

    Raises:
        StoreError: absent or damaged, not three-dimensional, or values that are not Hounsfield units.
    """
    content = nifti_content(path)
    try:
        image = nib.Nifti1Image.from_bytes(content)
        values = np.asarray(image.dataobj).T
    except (ValueError, HeaderDataError, ImageFileError) as error:
        raise StoreError(f"{path.name} cannot be read as NIfTI ({type(error).__name__}). {REMEDY}") from None
    if values.ndim != 3:
        raise StoreError(f"{path.name} has {values.ndim} axes, expected 3: one volume per file.")
    if values.dtype != np.int16:
        if not (np.isfinite(values).all() and values.min() >= INT16.min and values.max() <= INT16.max):
            raise StoreError(f"{path.name} holds values outside int16 or not finite: these are not HU.")
        values = np.rint(values).astype(np.int16)
    return Volume(np.ascontiguousarray(values), np.asarray(image.affine, dtype=np.float64))


class _Compressor(Protocol):
    def compress(self, data: Any, /) -> bytes: ...
    def flush(self) -> bytes: ...


class _Uncompressed:
    def compress(self, data: Any, /) -> bytes:
        return bytes(data)

    def flush(self) -> bytes:
        return b""


def _compressor(level: int) -> _Compressor:
    if level <= _HIGHEST_ISAL_LEVEL:
        return isal_zlib.compressobj(level, wbits=_GZIP_FORMAT)
    return zlib.compressobj(level, wbits=_GZIP_FORMAT)


def _header(values: NDArray[np.generic], affine: NDArray[np.float64]) -> bytes:
    header = nib.Nifti1Header()
    header.set_data_dtype(values.dtype)
    header.set_data_shape(values.shape[::-1])
    header.set_slope_inter(1, 0)
    header.set_xyzt_units("mm")
    header.set_sform(affine, code="scanner")
    header.set_qform(affine, code="scanner")
    header["vox_offset"] = header.sizeof_hdr + len(_NO_EXTENSIONS)
    return bytes(header.binaryblock) + _NO_EXTENSIONS
