"""The bytes of a NIfTI file, whole and checked, or a refusal.

nibabel stops reading where the image ends, before the checksum of the gzip file, so that damaged voxels pass. Here a
file is decompressed to its very end, and never further than its own header says the image goes: a small file that
unpacks without end is refused before it fills the memory.
"""

# mypy: allow-untyped-calls
# (nibabel ships without annotations)

import math
from pathlib import Path
from typing import IO, cast

from isal import igzip, igzip_lib
from nibabel.nifti1 import Nifti1Header
from nibabel.spatialimages import HeaderDataError

from hyperct_pipeline.errors import StoreError

REMEDY = "Remove the file and run `kedro run --pipelines=convert` again."
HEADER_BYTES = 348
# 2,048 slices of 1024 x 1024 as int16. A chest CT has a tenth of it.
MOST_BYTES = 4 * 2**30
# No deflate stream is smaller than a 1,032nd of what it holds (zlib's technical notes).
HIGHEST_COMPRESSION = 1032
_DAMAGED: tuple[type[Exception], ...] = (OSError, EOFError, ValueError, LookupError, HeaderDataError)
_DAMAGED += (igzip_lib.IsalError,)  # type: ignore[operator] # its stub takes the class for an instance


def nifti_content(path: Path) -> bytes:
    """All bytes of a single-file NIfTI-1, decompressed where the name ends in .gz.

    Raises:
        StoreError: absent, cut, damaged, longer than its header says, or larger than any CT.
    """
    try:
        with path.open("rb") as file:
            stream = cast(IO[bytes], igzip.IGzipFile(fileobj=file)) if path.suffix == ".gz" else file
            head = stream.read(HEADER_BYTES)
            n_bytes = _length(head)
            if n_bytes > min(MOST_BYTES, HIGHEST_COMPRESSION * path.stat().st_size):
                raise ValueError("the header promises more than the file can hold")
            content = head + stream.read(n_bytes - len(head))
            if len(content) != n_bytes or stream.read(1):  # the last read also meets gzip's checksum
                raise ValueError("the file does not end where its header says")
            return content
    except _DAMAGED as error:
        raise StoreError(f"{path.name} cannot be read as NIfTI ({type(error).__name__}). {REMEDY}") from None


def _length(head: bytes) -> int:
    """Bytes of the whole file as its header has it: header, extensions, voxels."""
    if len(head) < HEADER_BYTES:
        raise EOFError
    header = Nifti1Header(head, check=False)
    if bytes(header["magic"]) not in (b"n+1", b"n+1\0"):
        raise ValueError("not a single-file NIfTI-1")
    sizes = [int(size) for size in header["dim"][1 : 1 + int(header["dim"][0])]]
    offset = int(header["vox_offset"])
    if not 1 <= int(header["dim"][0]) <= 7 or min(sizes) < 1 or offset < HEADER_BYTES + 4:
        raise ValueError("sizes in the header are impossible")
    return offset + math.prod(sizes) * int(header.get_data_dtype().itemsize)
