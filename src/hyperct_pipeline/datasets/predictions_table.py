"""The predictions that are assessed: ours, or a table that another system made."""

import csv
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv
from kedro.io import AbstractDataset, DatasetError

from hyperct_pipeline.errors import LabelTableError, MissingInputError

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "<NA>")


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
        given: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._parameter = parameter
        self._own = Path(filepath) if filepath else None
        self._given = Path(given) if given else None
        self.metadata = metadata

    def load(self) -> pd.DataFrame | None:
        """The table given, else our own, else None.

        Raises:
            LabelTableError: the table given is not there, or not readable in the format its ending names.
            MissingInputError: none is given, and our own has not been made yet.
        """
        if self._given is not None:
            return read_predictions(self._given, self._parameter)
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
        chosen = self._given or self._own
        return chosen is None or chosen.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"parameter": self._parameter, "given": self._given is not None}


def read_predictions(file: Path, name: str) -> pd.DataFrame:
    """Read a CSV (UTF-8, comma, an empty cell is missing, keys as text) or parquet file.

    Every row of a CSV must have as many cells as the header, and the last row must end with a line break: otherwise
    the file may be cut off in the middle of a number.

    Args:
        file: the table.
        name: what messages call it.

    Raises:
        LabelTableError: saying what is wrong, without the path.
    """
    ending = file.suffix.lower()
    if not file.is_file() or ending not in (".csv", ".parquet"):
        found = f"ends in '{ending}', not .csv or .parquet" if file.is_file() else "is not a file that can be reached"
        raise LabelTableError(f"The table '{name}' {found}. Name it with `--params={name}=PATH`.")
    try:
        return pd.read_parquet(file) if ending == ".parquet" else _read_csv(file, name)
    except (pa.ArrowException, csv.Error, UnicodeDecodeError, OSError) as error:
        # the reader's own text may quote cells, so only the kind of error is passed on
        raise LabelTableError(
            f"The table '{name}' is not readable as {ending[1:]} ({type(error).__name__}): expected one row per study "
            "and task under a header, the same number of cells in every row, CSV in UTF-8 with commas. A file that "
            "was cut off reads like this; write or copy it again."
        ) from None


def _read_csv(file: Path, name: str) -> pd.DataFrame:
    with file.open(encoding="utf-8-sig", newline="") as stream:
        header = next(csv.reader(stream), [])
    if not header:
        raise LabelTableError(f"The table '{name}' is empty: there is no header.")
    with file.open("rb") as binary:
        binary.seek(-1, 2)
        if binary.read(1) not in (b"\n", b"\r"):
            raise LabelTableError(
                f"The table '{name}' does not end with a line break, so it may be cut off. Write or copy it again; "
                "if it is complete, end its last line."
            )
    if doubled := sorted({column for column in header if header.count(column) > 1}):
        raise LabelTableError(f"The table '{name}': columns stand twice: {doubled}")
    table = pyarrow.csv.read_csv(
        file,
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()), null_values=list(MISSING), strings_can_be_null=True
        ),
    )
    texts = {"study_key", "patient_key", "cohort", "split", "task", "model_id", "site", "sex", "scanner", "kernel"}
    columns = {
        column: table[column] if column.strip() in texts else _as_numbers(table[column])
        for column in table.column_names
    }
    return pd.DataFrame({column: values.to_pandas() for column, values in columns.items()})


def _as_numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column as float64 to the last digit; as it is where a cell is no number, for the checks to count."""
    try:
        return column.cast(pa.float64())
    except pa.ArrowInvalid:
        return column
