"""Tables, JSON and text that programs outside read: each file appears whole or not at all.

Kedro's own datasets write in place, and a killed run leaves half a file that looks finished.
"""

import json
import logging
from pathlib import Path
from typing import Any

import pandas as pd
from kedro_datasets.json import JSONDataset
from kedro_datasets.pandas import CSVDataset
from kedro_datasets.text import TextDataset

from hyperct_pipeline.atomic_file import replacing
from hyperct_pipeline.harmless_csv import restored, write_csv

logger = logging.getLogger(__name__)

# Columns of names. A task may be called 007, True or NA: read by guess, it would come back as another value.
NAME_COLUMNS = (
    "cohort", "group", "level", "model", "patient_key", "reference", "rival", "source", "study_key", "subgroup",
    "swapped_task", "task",
)  # fmt: skip


class CsvTable(CSVDataset):
    """A CSV file without the frame's index; missing is an empty cell, and no cell is a formula.

    Names (`NAME_COLUMNS`) are read back as they were saved: as text of which only the empty cell is missing, and
    without the apostrophe that keeps a spreadsheet from running them.
    """

    is_required = True  # the input check looks whether it is there

    def load(self) -> pd.DataFrame:
        """Read the file."""
        options = {"float_precision": "round_trip", **self._load_args}
        file = Path(self._filepath)
        table = pd.read_csv(file, **options)
        if present := [name for name in NAME_COLUMNS if name in table]:
            names = pd.read_csv(file, **options | {"usecols": present, "dtype": "str", "keep_default_na": False})
            table[present] = names[present].mask(names[present] == "")
        return restored(table)

    def save(self, data: pd.DataFrame) -> None:
        """Replace the file."""
        with replacing(Path(self._filepath)) as draft:
            write_csv(data, draft, **self._save_args)


class JsonDocument(JSONDataset):
    """A JSON file; numbers that are not finite are refused, missing is null."""

    is_required = True

    def save(self, data: Any) -> None:
        """Replace the file."""
        with replacing(Path(self._filepath)) as draft:
            draft.write_text(json.dumps(data, allow_nan=False, **self._save_args), encoding="utf-8")


class CalibrationDocument(JsonDocument):
    """The calibration in a model package; one of other validation studies is replaced with a warning."""

    def save(self, data: Any) -> None:
        """Replace the file."""
        earlier = self.load() if self._exists() else None
        if earlier is not None and earlier.get("split_digest") != data["split_digest"]:
            logger.warning(
                "the model package had a calibration that was fitted on other validation studies; it is replaced, and "
                "`infer` with this model uses the new one"
            )
        super().save(data)


class TextDocument(TextDataset):
    """A UTF-8 text file."""

    def save(self, data: str) -> None:
        """Replace the file."""
        with replacing(Path(self._filepath)) as draft:
            draft.write_text(data, encoding="utf-8")
