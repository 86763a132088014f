"""One small JSON record per study or epoch, so that a stopped run keeps what it had finished."""

import json
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset

from hyperct_pipeline.atomic_file import replacing


class RecordFolder(AbstractDataset[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]):
    """A folder of `<key>.json` files; saving adds or replaces the given keys only.

    Loading a folder that does not exist gives an empty mapping: nothing has been finished yet.
    """

    def __init__(self, path: str, metadata: dict[str, Any] | None = None) -> None:
        self._folder = Path(path)
        self.metadata = metadata

    def load(self) -> dict[str, dict[str, Any]]:
        """All records by key, in the order of their keys."""
        files = sorted(self._folder.glob("[!.]*.json")) if self._folder.is_dir() else []
        return {file.stem: json.loads(file.read_text()) for file in files}

    def save(self, data: dict[str, dict[str, Any]]) -> None:
        """Write each record to its own file; non-finite numbers are refused, missing is null."""
        for key, record in data.items():
            with replacing(self._folder / f"{key}.json") as temporary:
                temporary.write_text(json.dumps(record, allow_nan=False, sort_keys=True))

    def _exists(self) -> bool:
        return self._folder.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"folder": self._folder.name}
