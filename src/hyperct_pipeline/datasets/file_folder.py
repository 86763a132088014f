"""Small finished files of one kind, one per key: thumbnails, HTML pages."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset

from hyperct_pipeline.atomic_file import replacing


class FileFolder(AbstractDataset[Mapping[str, bytes | Callable[[], bytes]], dict[str, Callable[[], bytes]]]):
    """A folder of `<key><suffix>` files, written atomically; loading gives one function per file that reads it.

    A value to save may be a function that makes the bytes: then one file after the other is made and written.

    Args:
        path: the folder.
        suffix: of every file in it, e.g. ".png".
        accumulate: keep the folder's other files, for a node that yields its files one by one; else they are removed
            after the new ones have been written.
    """

    def __init__(
        self, path: str, suffix: str, accumulate: bool = False, metadata: dict[str, Any] | None = None
    ) -> None:
        self._folder = Path(path)
        self._suffix = suffix
        self._accumulate = accumulate
        self.metadata = metadata

    def load(self) -> dict[str, Callable[[], bytes]]:
        """Map each key to a function that reads its file."""
        return {key: path.read_bytes for key, path in self._files().items()}

    def save(self, data: Mapping[str, bytes | Callable[[], bytes]]) -> None:
        """Write each file."""
        for key, content in data.items():
            with replacing(self._folder / f"{key}{self._suffix}") as temporary:
                temporary.write_bytes(content if isinstance(content, bytes) else content())
        if not self._accumulate:
            for key, path in self._files().items():
                if key not in data:
                    path.unlink()

    def _files(self) -> dict[str, Path]:
        files = sorted(self._folder.glob(f"[!.]*{self._suffix}")) if self._folder.is_dir() else []
        return {file.name.removesuffix(self._suffix): file for file in files}

    def _exists(self) -> bool:
        return self._folder.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"folder": self._folder.name, "suffix": self._suffix}
