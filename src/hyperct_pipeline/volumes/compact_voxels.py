"""Voxels as Blosc2 chunks of a few slices each (byte shuffle, then zstd): a third of the bytes or less, the same HU.

Only the chunks that hold a wanted slice are decoded. Each chunk has a CRC-32 in the description, which is compared
before it is decoded: a damaged chunk is an error and never other voxels, and the decoder sees no damaged bytes.
The codec is that of the package imagecodecs, imported when it is used: machines that read mapped volumes only do
without it.
"""

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from hyperct_pipeline.errors import StoreError

SLICES_PER_CHUNK = 4  # one costs half as much time again, twelve save 5 % of time and size and read more than is asked
_LEVEL = 5  # of zstd: 9 saves another 3 % and takes 30 times as long to write


class CompactVoxels:
    """A read-only array int16 (Z, Y, X) that decodes the slices that are asked for.

    Args:
        name: of the volume, for errors.
        content: bytes of all chunks.
        shape: (Z, Y, X).
        slices_per_chunk: the last chunk may have fewer.
        chunks: number of bytes and CRC-32 of each chunk.
    """

    dtype = np.dtype(np.int16)
    ndim = 3

    def __init__(
        self,
        name: str,
        content: NDArray[np.uint8],
        shape: tuple[int, int, int],
        slices_per_chunk: int,
        chunks: Sequence[tuple[int, int]],
    ) -> None:
        self._name, self._content, self.shape, self._per_chunk = name, content, shape, slices_per_chunk
        ends = np.cumsum([0, *(size for size, _ in chunks)])
        if len(chunks) != -(-shape[0] // slices_per_chunk) or ends[-1] != len(content):
            raise ValueError("array and description do not agree")
        self._ends, self._crcs = ends, [crc for _, crc in chunks]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> NDArray[np.int16]:
        """The voxels that an array of this shape has there.

        Args:
            index: of slices, or a tuple of it and of what is wanted within each slice.

        Raises:
            StoreError: a chunk that is needed is damaged.
            IndexError: the index begins with an ellipsis or a new axis.
        """
        slices, *within = index if isinstance(index, tuple) else (index,)
        if any(part is None or part is Ellipsis for part in (slices, *within)):
            raise IndexError("compact voxels take slices first, without ellipsis or new axis")
        numbers = np.arange(len(self))[slices]
        wanted = numbers.reshape(-1)
        image = np.broadcast_to(np.int16(0), self.shape[1:])[tuple(within)]
        found = np.empty((len(wanted), *image.shape), dtype=np.int16)
        for chunk in np.unique(wanted // self._per_chunk):
            here = np.flatnonzero(wanted // self._per_chunk == chunk)
            found[here] = self._decoded(chunk)[(slice(None), *within)][wanted[here] - chunk * self._per_chunk]
        return found.reshape((*numbers.shape, *image.shape))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """All of it."""
        if copy is False:
            raise ValueError("compact voxels are decoded into a new array")
        return self[:].astype(dtype or self.dtype, copy=False)

    def _decoded(self, chunk: int) -> NDArray[np.int16]:
        content = self._content[self._ends[chunk] : self._ends[chunk + 1]]
        if zlib.crc32(content.data) != self._crcs[chunk]:
            raise StoreError.damaged(self._name, "its voxels have changed")
        depth = min(self._per_chunk, len(self) - chunk * self._per_chunk)
        out = np.empty((depth, *self.shape[1:]), dtype=np.int16)
        _codec().blosc2_decode(content, out=out.reshape(-1).view(np.uint8), numthreads=1)
        return out


def write_compact(stream: BinaryIO, hu: NDArray[np.int16]) -> dict[str, Any]:
    """Write int16 (Z, Y, X) and return what a reader needs beside the shape."""
    chunks = []
    for first in range(0, len(hu), SLICES_PER_CHUNK):
        part = np.ascontiguousarray(hu[first : first + SLICES_PER_CHUNK])
        content = _codec().blosc2_encode(
            part, level=_LEVEL, compressor="zstd", shuffle="shuffle", typesize=2, numthreads=1
        )
        stream.write(content)
        chunks.append([len(content), zlib.crc32(content)])
    return {"slices_per_chunk": SLICES_PER_CHUNK, "chunks": chunks}


def compact_voxels(
    name: str, path: Path, shape: tuple[int, int, int], array_end: int, meta: dict[str, Any]
) -> CompactVoxels:
    """The voxels of a file, decoded when asked for.

    Args:
        name: of the volume, for errors.
        path: of the file.
        shape: that the description tells.
        array_end: byte after the last chunk.
        meta: the description, with what `write_compact` returned.

    Raises:
        ValueError: the size of the file is not what the description says.
    """
    content = np.memmap(path, dtype=np.uint8, mode="r", shape=(array_end,))
    return CompactVoxels(name, content, shape, meta["slices_per_chunk"], meta["chunks"])


def _codec() -> Any:
    try:
        import imagecodecs
    except ImportError:
        raise StoreError(
            "Compact volumes need the package imagecodecs, which is not installed here: `pip install imagecodecs`, or "
            "keep mapped ones by preprocess.store=mapped and `kedro run --pipelines=preprocess`."
        ) from None
    return imagecodecs
