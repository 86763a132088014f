"""What a hospital hands over: an image archive and text tables. Read here, never written.

The folders and file names may carry names of patients, so `_describe` shows none of them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from kedro.io import AbstractDataset, DatasetError

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
    """

    def __init__(self, tables: Mapping[str, Mapping[str, str | None]], metadata: dict[str, Any] | None = None) -> None:
        self._sources = tuple(tables)
        self._files = {source: Path(entry["path"]) for source, entry in tables.items() if entry["path"]}
        self.metadata = metadata

    def load(self) -> dict[str, pd.DataFrame]:
        """Source name -> table of text.

        Raises:
            LabelTableError: no table was named, or one is missing or unreadable.
        """
        if not self._files:
            known = ", ".join(self._sources)
            raise LabelTableError(
                f"No label table was given. Name at least one with `--params=labels.<source>=PATH` "
                f"(sources: {known}), or {PHANTOM_REMEDY}."
            )
        return {s: RawTable(str(file), f"labels.{s}").load() for s, file in self._files.items()}

    def _exists(self) -> bool:
        return bool(self._files) and all(file.is_file() for file in self._files.values())

    def _describe(self) -> dict[str, Any]:
        return {"sources": sorted(self._files)}


def read_text_table(file: Path, name: str) -> pd.DataFrame:
    """Read a CSV with all cells as text; a blank cell becomes "", a byte order mark is dropped.

    Args:
        file: the CSV file, UTF-8.
        name: how messages call it; the path itself is never shown.
    """
    try:
        # header=None, because pandas renames doubled columns and takes a row that is too long for an index
        rows = pd.read_csv(file, header=None, dtype="str", keep_default_na=False, encoding="utf-8-sig")
    except pd.errors.EmptyDataError:
        raise LabelTableError(f"The table '{name}' is empty: expected a header line and rows.") from None
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        # the parser's own text may quote cells, so only the kind of error is passed on
        raise LabelTableError(
            f"The table '{name}' is not readable as UTF-8 CSV ({type(error).__name__}): expected one header line and "
            "the same number of cells in every row. Export it again as comma-separated UTF-8."
        ) from None
    header = [str(column).strip() for column in rows.iloc[0]]
    if doubled := sorted({column for column in header if header.count(column) > 1}):
        raise LabelTableError(f"The table '{name}' names a column twice: {', '.join(doubled)}.")
    return rows.iloc[1:].set_axis(header, axis=1).reset_index(drop=True)
