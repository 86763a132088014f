"""The predictions that are assessed: ours, or a table that another system made."""

import csv
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
from kedro.io import AbstractDataset, DatasetError

from hyperct_pipeline.datasets.csv_faults import WORKBOOK, csv_fault, separator_hint
from hyperct_pipeline.errors import ConfigError, LabelTableError, MissingInputError
from hyperct_pipeline.evaluation.cut_off_tables import ENDS_OPEN
from hyperct_pipeline.evaluation.prediction_keys import MISSING_WORDS
from hyperct_pipeline.evaluation.prediction_problems import COLUMNS, KEYS, STUDY_TEXTS


class PredictionsTable(AbstractDataset[None, pd.DataFrame | None]):
    """A table of predictions that is only read: the one that the user names, else our own.

    Args:
        parameter: the runtime parameter that names it; messages call the table by it.
        filepath: our own parquet file, read where none is named; None: then there is no table.
        given: a `.csv` or `.parquet` file. Its path may carry names, so messages show none of it.
        metadata: see Kedro.
    """

    def __init__(
        self,
        parameter: str,
        filepath: str | None = None,
        given: Any = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._parameter = parameter
        self._own = Path(filepath) if filepath else None
        self._given = None if given in (None, "") else given
        self.metadata = metadata

    def load(self) -> pd.DataFrame | None:
        """The table given, else our own, else None.

        Raises:
            ConfigError: what is given is no path.
            LabelTableError: the table given is not there, or not readable in the format its ending names.
            MissingInputError: none is given, and our own has not been made yet.
        """
        if self._given is not None:
            if not isinstance(self._given, str):
                raise ConfigError(
                    f"--params: {self._parameter} must be the path of one .csv or .parquet file, found a value of type "
                    f"{type(self._given).__name__}; a path of digits alone needs its ending"
                )
            return read_predictions(Path(self._given), self._parameter)
        if self._own is None:
            return None
        if not self._own.is_file():
            raise MissingInputError(
                f"The table {self._parameter} does not exist yet: run `kedro run --pipeline=predict` first, or name a "
                f"table with `--params={self._parameter}=PATH`."
            )
        return pd.read_parquet(self._own)

    def save(self, data: None) -> None:
        raise DatasetError("The predictions that are assessed are read, never written.")

    def _exists(self) -> bool:
        if self._given is not None:
            return isinstance(self._given, str) and _is_file(Path(self._given))
        return self._own is None or self._own.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"parameter": self._parameter, "given": self._given is not None}


def read_predictions(file: Path, name: str) -> pd.DataFrame:
    """Read a CSV (UTF-8, comma) or parquet file; a named index of a parquet file is a column like the others.

    Names are text, of which only the empty cell is missing; in columns of numbers words such as `NA` are missing too.
    Every row of a CSV must have as many cells as the header. A last row without a line break may have been cut off in
    the middle of a number: the frame then has the attribute `ENDS_OPEN`.

    Args:
        file: the table.
        name: what messages call it.

    Raises:
        LabelTableError: saying what is wrong and in which row, without the path.
    """
    ending = file.suffix.lower()
    is_file = _is_file(file)
    if not is_file or ending not in (".csv", ".parquet"):
        found = f"ends in '{ending}', not .csv or .parquet" if is_file else "is not a file that can be reached"
        if ending in (".xls", ".xlsx", ".ods") and is_file:
            found += " (save the sheet as CSV UTF-8)"
        raise LabelTableError(f"The table '{name}' {found}. Name it with `--params={name}=PATH`.")
    try:
        return _read_parquet(file) if ending == ".parquet" else _read_csv(file, name)
    except (pa.ArrowException, csv.Error, UnicodeDecodeError, OSError) as error:
        # the reader's own text may quote cells, so only the kind of error is passed on
        fault = (csv_fault(file) if ending == ".csv" else "") or type(error).__name__
        cut_off = "A file that was cut off reads like this; write or copy it again."
        remedy = "Save it as CSV UTF-8." if "UTF-8" in fault or fault == WORKBOOK else cut_off
        raise LabelTableError(
            f"The table '{name}' is not readable as {ending[1:]} ({fault}): expected one row per study "
            f"and task under a header, the same number of cells in every row, CSV in UTF-8 with commas. {remedy}"
        ) from None


def _is_file(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError:  # such as a name longer than any file's
        return False


def _read_parquet(file: Path) -> pd.DataFrame:
    table = pd.read_parquet(file)
    named = [level for level in table.index.names if level is not None and level not in table.columns]
    return table.reset_index(level=named).reset_index(drop=True) if named else table.reset_index(drop=True)


def _read_csv(file: Path, name: str) -> pd.DataFrame:
    with file.open(encoding="utf-8-sig", newline="") as stream:
        header = next(csv.reader(stream), [])
    if not header:
        raise LabelTableError(
            f"The table '{name}' is empty: there is no header in its first line, and it holds {file.stat().st_size} "
            "bytes. Expected a header line and one row per study and task."
        )
    if hint := separator_hint(header):
        raise LabelTableError(f"The table '{name}' has one column: {hint}.")
    if doubled := sorted({column for column in header if header.count(column) > 1}):
        shown = [column for column in doubled if column.strip() in COLUMNS]  # of a file without a header it is a cell
        which = f"columns stand twice: {shown}" if shown else f"{len(doubled)} columns stand twice"
        raise LabelTableError(f"The table '{name}': {which}")
    table = pyarrow.csv.read_csv(
        file,
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False
        ),
    )
    texts = {*KEYS, *STUDY_TEXTS}
    columns = {
        column: _missing(table[column], ("",)) if column.strip() in texts else _as_numbers(table[column])
        for column in table.column_names
    }
    frame = pd.DataFrame({column: values.to_pandas() for column, values in columns.items()})
    frame.attrs[ENDS_OPEN] = _ends_open(file)
    return frame


def _ends_open(file: Path) -> bool:
    with file.open("rb") as binary:
        binary.seek(-1, 2)
        return binary.read(1) not in (b"\n", b"\r")


def _missing(column: pa.ChunkedArray, words: tuple[str, ...]) -> pa.ChunkedArray:
    """The column without these words."""
    is_word = pyarrow.compute.is_in(column, value_set=pa.array(words, pa.string()))
    return pyarrow.compute.if_else(is_word, pa.scalar(None, pa.string()), column)


def _as_numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column as float64 to the last digit; as it is where a cell is no number, for the checks to count."""
    known = _missing(column, ("", *MISSING_WORDS))
    try:
        return known.cast(pa.float64())
    except pa.ArrowInvalid:
        return known
