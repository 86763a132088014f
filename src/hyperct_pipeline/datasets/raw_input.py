"""What a hospital hands over: an image archive and text tables. Read here, never written.

The folders and file names may carry names of patients, so `_describe` shows none of them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from kedro.io import AbstractDataset, DatasetError

from hyperct_pipeline.datasets.text_table import read_text_table
from hyperct_pipeline.errors import ArchiveError, LabelTableError

PHANTOM_REMEDY = "write the synthetic archive with `kedro run --pipeline=phantom`"


class _ReadOnly(AbstractDataset[None, Any]):
    def save(self, data: None) -> None:
        raise DatasetError("Raw input is never written.")


class ArchiveFolder(_ReadOnly):
    """The root folder of an image archive, handed to nodes as a path.

    Args:
        path: the folder, or None where the user has to name one.
        create: make the folder when it is missing (for the phantom's own output).
    """

    def __init__(self, path: str | None, create: bool = False, metadata: dict[str, Any] | None = None) -> None:
        self._folder = Path(path) if path else None
        self._create = create
        self.metadata = metadata

    def load(self) -> Path:
        """The folder.

        Raises:
            ArchiveError: it was not named, or is not there.
        """
        if self._folder and self._create:
            self._folder.mkdir(parents=True, exist_ok=True)
        if self._folder is None or not self._folder.is_dir():
            found = "is not a folder that can be reached" if self._folder else "was not given"
            raise ArchiveError(
                f"The DICOM archive (dicom_root) {found}. Either name your archive with "
                f"`--params=dicom_root=PATH`, or {PHANTOM_REMEDY}."
            )
        return self._folder

    def _exists(self) -> bool:
        return self._create or (self._folder is not None and self._folder.is_dir())

    def _describe(self) -> dict[str, Any]:
        return {"given": self._folder is not None}


class RawTable(_ReadOnly):
    """One CSV file in which every cell is text and a blank cell is the empty string.

    Args:
        path: the file, or None where the user has to name one.
        parameter: the runtime parameter that names it, for messages.
        optional: a table that was not named is empty, without rows and columns; one that was named must be there.
    """

    def __init__(
        self, path: str | None, parameter: str, optional: bool = False, metadata: dict[str, Any] | None = None
    ) -> None:
        self._file = Path(path) if path else None
        self._parameter = parameter
        self._optional = optional
        self.metadata = metadata

    def load(self) -> pd.DataFrame:
        """The table.

        Raises:
            LabelTableError: it was not named, is not there, or is no UTF-8 CSV with a header.
        """
        if self._file is None and self._optional:
            return pd.DataFrame()
        if self._file is None or not self._file.is_file():
            found = "is not a file that can be reached" if self._file else "was not given"
            raise LabelTableError(
                f"The table '{self._parameter}' {found}. Either name it with "
                f"`--params={self._parameter}=PATH`, or {PHANTOM_REMEDY}."
            )
        return read_text_table(self._file, self._parameter)

    def _exists(self) -> bool:
        return self._file is not None and self._file.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"parameter": self._parameter, "given": self._file is not None}


class RawTables(_ReadOnly):
    """The label tables, by the name of the source whose format each one has.

    Args:
        tables: source name -> {"path": file}; None leaves the source out.
        given: source name -> file, what the run was given; goes before `tables`.
    """

    def __init__(
        self,
        tables: Mapping[str, Mapping[str, str | None]],
        given: Mapping[str, str | None] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        files = {source: entry["path"] for source, entry in tables.items()} | dict(given or {})
        self._files = {source: Path(file) for source, file in files.items() if file}
        self.metadata = metadata

    def load(self) -> dict[str, pd.DataFrame]:
        """Source name -> table of text.

        Raises:
            LabelTableError: no table was named, or one is missing or unreadable.
        """
        if not self._files:
            raise LabelTableError(
                "No label table was given. Name at least one with `--params=labels.<source>=PATH` "
                f"(the sources stand in parameters_sources.yml), or {PHANTOM_REMEDY}."
            )
        return {s: RawTable(str(file), f"labels.{s}").load() for s, file in self._files.items()}

    def _exists(self) -> bool:
        return bool(self._files) and all(file.is_file() for file in self._files.values())

    def _describe(self) -> dict[str, Any]:
        return {"sources": sorted(self._files)}
