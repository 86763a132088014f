"""The predictions that are assessed: ours, or a table that another system made."""

from pathlib import Path
from typing import Any

import pandas as pd
from pyarrow import ArrowException

from hyperct_pipeline.datasets.study_table import StudyTable
from hyperct_pipeline.errors import LabelTableError

KEYS = ("study_key", "patient_key", "cohort", "split", "task", "model_id")


class PredictionsTable(StudyTable):
    """A study table; one that the user names is read in its place, and never written.

    Args:
        filepath: our parquet file, which is written.
        given: a `.csv` or `.parquet` file to read instead. Its path may carry names, so messages show none of it.
        metadata: see `StudyTable`.
    """

    def __init__(self, filepath: str, given: str | None = None, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(filepath, metadata=metadata)
        self._given = Path(given) if given else None

    def load(self) -> pd.DataFrame:
        """The table given, else our own.

        Raises:
            LabelTableError: the table given is not there, or not readable in the format its ending names.
        """
        return super().load() if self._given is None else read_predictions(self._given)

    def _exists(self) -> bool:
        return super()._exists() if self._given is None else self._given.is_file()

    def _describe(self) -> dict[str, Any]:
        return super()._describe() | {"given": self._given is not None}


def read_predictions(file: Path) -> pd.DataFrame:
    """Read a CSV (UTF-8, an empty cell is missing, keys as text) or parquet file."""
    ending = file.suffix.lower()
    if not file.is_file() or ending not in (".csv", ".parquet"):
        found = f"ends in '{ending}', not .csv or .parquet" if file.is_file() else "is not a file that can be reached"
        raise LabelTableError(f"The table 'predictions' {found}. Name it with `--params=predictions=PATH`.")
    try:
        if ending == ".parquet":
            return pd.read_parquet(file)
        keys = dict.fromkeys(KEYS, "string")
        return pd.read_csv(file, dtype=keys, encoding="utf-8-sig", float_precision="round_trip")
    except (ArrowException, pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        # the reader's own text may quote cells, so only the kind of error is passed on
        raise LabelTableError(
            f"The table 'predictions' is not readable as {ending[1:]} ({type(error).__name__}): expected one row per "
            "study and task under a header, CSV in UTF-8."
        ) from None
