"""The volume store: preprocessed CT, one memory-mapped int16 array per study.

A file is an ordinary .npy (np.load reads it) followed by its description as JSON, so array and description
cannot part: one file, one rename. Layout: npy | JSON | length of the JSON as 8 bytes | CRC-32 of the JSON | MAGIC.
Reading always checks the description and the frame. The voxels have a digest, too; it is checked on demand only,
because a training run reads each volume a thousand times, and mostly a part of it.
"""

import hashlib
import io
import json
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperct_pipeline.atomic_file import replacing
from hyperct_pipeline.errors import StoreError

MAGIC = b"HCTSTOR2"
_EARLIER_MAGIC = b"HCTSTOR1"  # had no digest
_FOOTER_BYTES = 8 + 4 + len(MAGIC)
_KEY_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_REMEDY = "Run `kedro run --pipelines=preprocess` again."


@dataclass(frozen=True, eq=False)
class StoredVolume:
    """A preprocessed CT, and what is needed to find back from it into the scan."""

    hu: NDArray[np.int16]  # (Z, Y, X) in RAS, clipped to the window, empty slices dropped
    affine: NDArray[np.float64]  # (4, 4), index (x, y, z, 1) of the grid BEFORE slices were dropped -> RAS mm
    grid_shape_zyx: tuple[int, int, int]  # shape of that grid
    kept_slices: NDArray[np.int64]  # (Z,), where each slice of hu stood in that grid, increasing
    preprocess_digest: str  # of the settings it was made with

    def __post_init__(self) -> None:
        if self.hu.ndim != 3 or self.hu.dtype != np.int16:
            raise ValueError(f"expected int16 (Z, Y, X), found {self.hu.dtype} with {self.hu.ndim} axes")
        if self.hu.shape != (len(self.kept_slices), *self.grid_shape_zyx[1:]):
            raise ValueError(
                f"{len(self.kept_slices)} kept slices of a grid {self.grid_shape_zyx} "
                f"do not describe an array {self.hu.shape}"
            )

    def digest(self) -> str:
        """SHA-256 of the voxels and of everything that describes them."""
        content = hashlib.sha256(np.ascontiguousarray(self.hu).data)
        content.update(json.dumps(self.description(), sort_keys=True).encode())
        return content.hexdigest()

    def description(self) -> dict[str, Any]:
        """Everything but the voxels, as JSON can hold it."""
        return {
            "affine": self.affine.tolist(),
            "grid_shape_zyx": list(self.grid_shape_zyx),
            "kept_slices": self.kept_slices.tolist(),
            "preprocess_digest": self.preprocess_digest,
        }


@dataclass(frozen=True)
class VolumeStore:
    """Stored volumes by study key, one file each under `root`."""

    root: Path

    def path_of(self, key: str) -> Path:
        """File of a key, whether or not it exists."""
        if not _KEY_PATTERN.fullmatch(key):
            raise ValueError("a store key has letters, digits, '_' and '-' only")
        return self.root / f"{key}.npy"

    def __contains__(self, key: str) -> bool:
        return self.path_of(key).is_file()

    def require(self, keys: Iterable[str]) -> None:
        """Raises StoreError when a volume is absent, before long work begins."""
        if absent := sorted(key for key in keys if key not in self):
            raise StoreError(
                f"The store lacks {len(absent)} volumes that the study index names, e.g. {absent[:3]}: run "
                "`kedro run --pipelines=preprocess`, then `kedro run --pipelines=harmonize`."
            )

    def put(self, key: str, stored: StoredVolume) -> None:
        """Writes or replaces one volume; a kill at any moment leaves the old file or the new one, whole."""
        path = self.path_of(key)
        text = json.dumps(stored.description() | {"sha256": stored.digest()}, sort_keys=True).encode()
        with replacing(path) as draft, draft.open("wb") as stream:
            stream.write(_npy_header(stored.hu.shape))
            stream.write(np.ascontiguousarray(stored.hu).data)
            stream.write(text + len(text).to_bytes(8, "little") + zlib.crc32(text).to_bytes(4, "little") + MAGIC)

    def get(self, key: str) -> StoredVolume:
        """The volume, its hu memory-mapped and read-only. Its voxels are not compared with their digest.

        Raises:
            StoreError: there is no such volume, its file is damaged or of an earlier format.
        """
        return self._open(key)[0]

    def verify(self, key: str) -> StoredVolume:
        """The volume after all of it was read and compared with its digest.

        Raises:
            StoreError: as `get`, or the voxels have changed since they were written.
        """
        stored, digest = self._open(key)
        if stored.digest() != digest:
            raise StoreError(f"Stored volume {key} is damaged (its voxels have changed). {_REMEDY}")
        return stored

    def holds(self, key: str, digest: str, verify: bool = False) -> bool:
        """Whether the volume with this digest is there, by its description or, to verify, by its voxels."""
        try:
            return (self.verify(key).digest() if verify else self._open(key)[1]) == digest
        except StoreError:
            return False

    def _open(self, key: str) -> tuple[StoredVolume, str]:
        path = self.path_of(key)
        if not path.is_file():
            raise StoreError(f"No stored volume {key}. `kedro run --pipelines=preprocess` makes it.")
        try:
            meta, array_end = _read_description(path)
            depth, height, width = meta["grid_shape_zyx"]
            stored = StoredVolume(
                hu=_mapped(path, (len(meta["kept_slices"]), height, width), array_end),
                affine=np.array(meta["affine"], dtype=np.float64),
                grid_shape_zyx=(depth, height, width),
                kept_slices=np.array(meta["kept_slices"], dtype=np.int64),
                preprocess_digest=meta["preprocess_digest"],
            )
            return stored, str(meta["sha256"])
        except (ValueError, KeyError) as error:
            raise StoreError(f"Stored volume {key} is damaged ({error}). {_REMEDY}") from None
        except OSError as error:
            raise StoreError(f"Stored volume {key} cannot be read ({error.strerror}). {_REMEDY}") from None


def _npy_header(shape: tuple[int, ...]) -> bytes:
    """What np.save writes before an array of this shape."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<i2", "fortran_order": False, "shape": shape})
    return header.getvalue()


def _mapped(path: Path, shape: tuple[int, int, int], array_end: int) -> NDArray[np.int16]:
    """The array between header and description; the header must say what the description says."""
    header = _npy_header(shape)
    with path.open("rb") as stream:
        if stream.read(len(header)) != header or len(header) + 2 * int(np.prod(shape)) != array_end:
            raise ValueError("array and description do not agree")
    return np.memmap(path, dtype=np.int16, mode="r", offset=len(header), shape=shape)


def _read_description(path: Path) -> tuple[dict[str, Any], int]:
    """The description, and the byte at which it begins."""
    with path.open("rb") as stream:
        size = stream.seek(0, io.SEEK_END)
        stream.seek(max(size - _FOOTER_BYTES, 0))
        footer = stream.read()
        if footer.endswith(_EARLIER_MAGIC):
            raise ValueError("of an earlier format without a digest")
        start = size - _FOOTER_BYTES - int.from_bytes(footer[:8], "little")
        if not footer.endswith(MAGIC) or start < 0:
            raise ValueError("no description at its end")
        stream.seek(start)
        text = stream.read(size - _FOOTER_BYTES - start)
    if zlib.crc32(text) != int.from_bytes(footer[8:12], "little"):
        raise ValueError("its description has changed")
    meta: dict[str, Any] = json.loads(text)
    return meta, start
