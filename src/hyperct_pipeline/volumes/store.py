"""The volume store: preprocessed CT, one memory-mapped int16 array per study.

A file is an ordinary .npy (np.load reads it) followed by its description as JSON, so array and description
cannot part: one file, one rename. Layout: npy | JSON | length of the JSON as 8 bytes | MAGIC.
"""

import io
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperct_pipeline.atomic_file import replacing
from hyperct_pipeline.errors import StoreError

MAGIC = b"HCTSTOR1"
_KEY_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


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
        with replacing(path) as draft, draft.open("wb") as stream:
            np.save(stream, np.ascontiguousarray(stored.hu), allow_pickle=False)
            stream.write(_description(stored))

    def get(self, key: str) -> StoredVolume:
        """The volume, its hu memory-mapped and read-only.

        Raises:
            StoreError: there is no such volume, or its file is damaged.
        """
        path = self.path_of(key)
        if not path.is_file():
            raise StoreError(f"No stored volume {key}. `kedro run --pipelines=preprocess` makes it.")
        try:
            meta, array_end = _read_description(path)
            depth, height, width = meta["grid_shape_zyx"]
            hu = np.load(path, mmap_mode="r", allow_pickle=False)
            if hu.offset + hu.nbytes != array_end:
                raise ValueError("array and description do not meet")
            return StoredVolume(
                hu=hu,
                affine=np.array(meta["affine"], dtype=np.float64),
                grid_shape_zyx=(depth, height, width),
                kept_slices=np.array(meta["kept_slices"], dtype=np.int64),
                preprocess_digest=meta["preprocess_digest"],
            )
        except (ValueError, KeyError, OSError) as error:
            raise StoreError(
                f"Stored volume {key} is damaged ({type(error).__name__}). "
                "Remove its file and run `kedro run --pipelines=preprocess` again."
            ) from None


def _description(stored: StoredVolume) -> bytes:
    meta = {
        "affine": stored.affine.tolist(),
        "grid_shape_zyx": list(stored.grid_shape_zyx),
        "kept_slices": stored.kept_slices.tolist(),
        "preprocess_digest": stored.preprocess_digest,
    }
    text = json.dumps(meta, sort_keys=True).encode()
    return text + len(text).to_bytes(8, "little") + MAGIC


def _read_description(path: Path) -> tuple[dict[str, Any], int]:
    """The description, and the byte at which it begins."""
    footer = 8 + len(MAGIC)
    with path.open("rb") as stream:
        size = stream.seek(0, io.SEEK_END)
        stream.seek(max(size - footer, 0))
        tail = stream.read()
        start = size - footer - int.from_bytes(tail[:8], "little")
        if tail[8:] != MAGIC or start < 0:
            raise ValueError("no description at the end of the file")
        stream.seek(start)
        meta: dict[str, Any] = json.loads(stream.read(size - footer - start))
    return meta, start
