"""The volume store: preprocessed CT, one file per study, int16 HU with slices first.

There are two forms. Mapped: an ordinary .npy, memory-mapped. Compact: Blosc2 chunks, a third of the bytes or less,
decoded when asked for. A store may hold both and reads both; of one study it keeps one. Every file ends with its
description.

Reading always checks the description and the frame. The voxels have a digest, too; it is checked on demand only,
because a training run reads each volume a thousand times, and mostly a part of it. Chunks of compact volumes are
checked whenever they are decoded.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hyperct_pipeline.atomic_file import replacing
from hyperct_pipeline.errors import StoreError
from hyperct_pipeline.volumes.compact_voxels import CompactVoxels, compact_voxels, write_compact
from hyperct_pipeline.volumes.description_frame import read_description, write_description
from hyperct_pipeline.volumes.mapped_voxels import mapped_voxels, write_mapped

StoreForm = Literal["mapped", "compact"]
_SUFFIX: dict[StoreForm, str] = {"mapped": ".npy", "compact": ".blosc2"}
_KEY_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True, eq=False)
class StoredVolume:
    """A preprocessed CT, and what is needed to find back from it into the scan."""

    hu: NDArray[np.int16] | CompactVoxels  # (Z, Y, X) in RAS, clipped to the window, empty slices dropped
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
        """SHA-256 of the voxels and of everything that describes them; the same in both forms."""
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

    def path_of(self, key: str, form: StoreForm = "mapped") -> Path:
        """File of a key in a form, whether or not it exists."""
        if not _KEY_PATTERN.fullmatch(key):
            raise ValueError("a store key has letters, digits, '_' and '-' only")
        return self.root / f"{key}{_SUFFIX[form]}"

    def __contains__(self, key: str) -> bool:
        return bool(self.forms(key))

    def forms(self, key: str) -> list[StoreForm]:
        """In which forms a volume is there. There are two only after a kill between a write and what it replaces."""
        return [form for form in get_args(StoreForm) if self.path_of(key, form).is_file()]

    def require(self, keys: Iterable[str]) -> None:
        """Raises StoreError when a volume is absent, before long work begins."""
        if absent := sorted(key for key in keys if key not in self):
            raise StoreError(
                f"The store lacks {len(absent)} volumes that the study index names, e.g. {absent[:3]}: run "
                "`kedro run --pipelines=preprocess`, then `kedro run --pipelines=harmonize`."
            )

    def put(self, key: str, stored: StoredVolume, form: StoreForm = "mapped") -> None:
        """Writes one volume and removes its other form; a kill at any moment leaves the old file or the new one, whole.

        Raises:
            StoreError: what the form needs is not installed.
            OSError: the file cannot be written.
        """
        hu = np.ascontiguousarray(stored.hu)
        meta = stored.description() | {"sha256": stored.digest()}
        with replacing(self.path_of(key, form)) as draft, draft.open("wb") as stream:
            if form == "compact":
                meta |= write_compact(stream, hu)
            else:
                write_mapped(stream, hu)
            write_description(stream, meta)
        for other in self.forms(key):
            if other != form:
                self.path_of(key, other).unlink()

    def get(self, key: str) -> StoredVolume:
        """The volume, its hu read-only, mapped or decoded when asked for; not compared with its digest.

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
            raise StoreError.damaged(key, "its voxels have changed")
        return stored

    def holds(self, key: str, digest: str, verify: bool = False, form: StoreForm | None = None) -> bool:
        """Whether the volume with this digest is there.

        Args:
            key: of the study.
            digest: of the voxels and their description.
            verify: read the voxels, too, instead of believing the description.
            form: that it must have, and no other beside it; None where that does not matter.
        """
        if form is not None and self.forms(key) != [form]:
            return False
        try:
            return (self.verify(key).digest() if verify else self._open(key)[1]) == digest
        except StoreError:
            return False

    def _open(self, key: str) -> tuple[StoredVolume, str]:
        forms = self.forms(key)
        if not forms:
            raise StoreError(f"No stored volume {key}. `kedro run --pipelines=preprocess` makes it.")
        path = self.path_of(key, forms[0])
        try:
            meta, array_end = read_description(path)
            depth, height, width = meta["grid_shape_zyx"]
            shape = len(meta["kept_slices"]), height, width
            compact = forms[0] == "compact"
            stored = StoredVolume(
                hu=compact_voxels(key, path, shape, array_end, meta)
                if compact
                else mapped_voxels(path, shape, array_end),
                affine=np.array(meta["affine"], dtype=np.float64),
                grid_shape_zyx=(depth, height, width),
                kept_slices=np.array(meta["kept_slices"], dtype=np.int64),
                preprocess_digest=meta["preprocess_digest"],
            )
            return stored, str(meta["sha256"])
        except (ValueError, KeyError) as error:
            raise StoreError.damaged(key, str(error)) from None
        except OSError as error:
            raise StoreError(
                f"Stored volume {key} cannot be read ({error.strerror}). Run `kedro run --pipelines=preprocess` again."
            ) from None
