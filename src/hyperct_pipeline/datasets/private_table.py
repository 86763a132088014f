"""A table that may identify people: written only on request, readable by its owner only, read by nothing of ours."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from kedro.io import AbstractDataset, DatasetError

from hyperct_pipeline.atomic_file import replacing
from hyperct_pipeline.harmless_csv import write_csv


class PrivateTable(AbstractDataset[Callable[[], pd.DataFrame], None]):
    """A CSV of mode 0600 in a folder of mode 0700.

    Args:
        path: the file.
        wanted: whether it was asked for; otherwise the function that makes it is never called.
    """

    def __init__(self, path: str, wanted: bool = False, metadata: dict[str, Any] | None = None) -> None:
        self._file = Path(path)
        self._wanted = wanted
        self.metadata = metadata

    def load(self) -> None:
        raise DatasetError("The private table is for people; no pipeline reads it.")

    def save(self, data: Callable[[], pd.DataFrame]) -> None:
        """Call the function and write its table, if the table is wanted."""
        if not self._wanted:
            return
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with replacing(self._file) as temporary:
            os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600))
            write_csv(data(), temporary, errors="surrogateescape")

    def _exists(self) -> bool:
        return self._file.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"wanted": self._wanted}
