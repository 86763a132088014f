"""Writing a converted volume: NIfTI-1 with empty text fields, compressed and hashed in one pass.

The same volume gives the same bytes: no name and no time stand in the gzip header. Up to level 3 Intel's ISA-L
compresses at five times the speed of zlib to the same size.
"""

# mypy: allow-untyped-calls
# (nibabel ships without annotations)

import hashlib
import time
import zlib
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from isal import isal_zlib

from hyperct_pipeline.atomic_file import replacing
from hyperct_pipeline.volumes.volume import Volume

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


def write_volume(volume: Volume, path: Path, gzip_level: int) -> Written:
    """Writes `path` (.nii.gz) in one piece: it appears under its name only when it is complete.

    Args:
        volume: any orientation.
        path: replaced where it exists.
        gzip_level: 1 (fast) to 9 (small).
    """
    digest = hashlib.sha256()
    compressor = _compressor(gzip_level)
    voxels = np.ascontiguousarray(volume.hu).data.cast("B")
    with replacing(path) as draft, draft.open("wb") as stream:
        parts = (voxels[start : start + _CHUNK_BYTES] for start in range(0, len(voxels), _CHUNK_BYTES))
        size = 0
        for part in chain([_header(volume)], parts, [None]):
            packed = compressor.flush() if part is None else compressor.compress(part)
            digest.update(packed)
            size += stream.write(packed)
    return Written(size, digest.hexdigest())


def remove_abandoned(folder: Path, older_than_s: float) -> None:
    """Removes drafts that a killed process left; one that is being written is younger than a study may take."""
    for draft in folder.glob(".tmp-*.nii.gz"):
        if time.time() - draft.stat().st_mtime > older_than_s:
            draft.unlink(missing_ok=True)


def _compressor(level: int) -> Any:
    if level <= _HIGHEST_ISAL_LEVEL:
        return isal_zlib.compressobj(level, wbits=_GZIP_FORMAT)
    return zlib.compressobj(level, wbits=_GZIP_FORMAT)


def _header(volume: Volume) -> bytes:
    header = nib.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape(volume.hu.shape[::-1])
    header.set_slope_inter(1, 0)
    header.set_xyzt_units("mm")
    header.set_sform(volume.affine, code="scanner")
    header.set_qform(volume.affine, code="scanner")
    header["vox_offset"] = header.sizeof_hdr + len(_NO_EXTENSIONS)
    return bytes(header.binaryblock) + _NO_EXTENSIONS
