"""Tables of studies: parquet for programs, a CSV twin for people."""

from pathlib import Path
from typing import Any

import pandas as pd
from kedro.io import AbstractDataset, DatasetError

from hyperct_pipeline.atomic_file import replacing
from hyperct_pipeline.harmless_csv import write_csv


class StudyTable(AbstractDataset[pd.DataFrame, pd.DataFrame]):
    """A data frame as `<name>.parquet` and `<name>.csv`, both replaced atomically.

    Lists and tuples are stored as text joined by ";", missing stays missing (empty in the CSV).
    Tables carry pseudonymous keys, therefore this dataset offers no preview in Kedro-Viz.

    Args:
        filepath: the parquet file.
        optional: a missing file loads as an empty frame instead of an error, for a table that an earlier
            pipeline may not have produced yet.
        metadata: see Kedro; `mlflow` is read by our tracking hook.
    """

    def __init__(self, filepath: str, optional: bool = False, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self._optional = optional
        self.metadata = metadata

    @property
    def is_required(self) -> bool:
        """Whether a run that reads the table cannot do without it; the input check asks."""
        return not self._optional

    def load(self) -> pd.DataFrame:
        """Read the parquet file with nullable dtypes as they were saved."""
        if not self._filepath.is_file():
            if self._optional:
                return pd.DataFrame()
            raise DatasetError(
                f"The table {self._filepath.stem} does not exist yet: run the pipeline that makes it first "
                "(README, section 'Pipelines')."
            )
        return pd.read_parquet(self._filepath)

    def save(self, data: pd.DataFrame) -> None:
        """Write both files; the CSV first, so that a parquet file never stands without its twin."""
        flat = data.copy()
        for column in flat.columns:
            # typed columns cannot hold lists, and looking at each cell of millions takes longer than writing them
            if flat[column].dtype == object and flat[column].map(lambda cell: isinstance(cell, list | tuple)).any():
                flat[column] = flat[column].map(_joined).astype("string")
        with replacing(self._filepath.with_suffix(".csv")) as temporary:
            write_csv(flat, temporary)
        with replacing(self._filepath) as temporary:
            flat.to_parquet(temporary, index=False)

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"table": self._filepath.name, "optional": self._optional}


def _joined(cell: Any) -> Any:
    return ";".join(str(part) for part in cell) if isinstance(cell, list | tuple) else cell
