"""The predictions table: how it is made, and what a table from elsewhere must hold to be assessed."""

import logging
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from scipy.special import expit

from hyperct_pipeline.errors import LabelTableError, StoreError
from hyperct_pipeline.metrics.calibration import to_logit
from hyperct_pipeline.model.settings import ScoringPrecision
from hyperct_pipeline.training.settings import DEVICE_PATTERN
from hyperct_pipeline.volumes.store import VolumeStore

logger = logging.getLogger(__name__)

STUDY_COLUMNS = ("study_key", "patient_key", "cohort", "split")
REQUIRED = ("study_key", "patient_key", "task", "label", "probability")
NUMBERS = ("label", "logit", "probability", "probability_calibrated", "threshold_youden")


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class PredictConfig:
    """How studies are scored and how the scores are recalibrated."""

    batch_size: int = Field(default=4, ge=1)  # studies scored together
    device: str = Field(default="auto", pattern=DEVICE_PATTERN)
    precision: ScoringPrecision = "auto"  # of matrix products: fp16 on CUDA, fp32 on a CPU
    splits: tuple[str, ...] = ("validation", "test")  # splits of the study index that are scored
    min_class_count: int = Field(default=10, ge=1)  # validation studies of each class needed for a slope


def studies_to_score(
    index: pd.DataFrame, store: VolumeStore, splits: Sequence[str], tasks: Sequence[str]
) -> pd.DataFrame:
    """Rows of the study index that are scored: those of the splits that have a volume. The others are counted.

    Raises:
        LabelTableError: the index has no column for a task of the model.
        StoreError: not one study of these splits has a volume, or the store lacks one that the index names.
    """
    if absent := [task for task in tasks if task not in index]:
        raise LabelTableError(f"study_index has no label column for {absent}; run `harmonize` with this catalogue")
    of_splits = index[index["split"].isin(list(splits)).fillna(False)]
    # the index decides: the store may still hold volumes of studies that have been refused since
    has_volume = of_splits["volume"].notna()
    store.require(of_splits["study_key"][has_volume])
    if not has_volume.any():
        raise StoreError(
            f"none of the {len(of_splits)} studies of the splits {list(splits)} has a volume; run `preprocess` first"
        )
    for split, missing in (~has_volume).groupby(of_splits["split"]).sum().items():
        if missing:
            logger.warning("%d studies of split %s have no volume and are not scored", missing, split)
    return of_splits[has_volume]


def predictions_table(
    studies: pd.DataFrame, logits: NDArray[np.float64], tasks: Sequence[str], model_id: str
) -> pd.DataFrame:
    """One row per study and task, studies in the order given.

    Args:
        studies: the studies scored; a column of `STUDY_COLUMNS` or a task's label column that is absent is unknown
            throughout, as for new scans.
        logits: (n, T).

    Returns:
        study_key, patient_key, cohort, split, task, label (Int8, NA where unknown), logit, probability
        (float64), probability_calibrated (NA until a calibration is applied), model_id.
    """
    n, n_tasks = logits.shape
    if (n, n_tasks) != (len(studies), len(tasks)):
        raise ValueError(f"logits are {logits.shape}, expected {(len(studies), len(tasks))}")
    columns = studies.reindex(columns=list(STUDY_COLUMNS)).astype("string")
    frame = columns.loc[columns.index.repeat(n_tasks)].reset_index(drop=True)
    frame["task"] = pd.array(list(tasks) * n, dtype="string")
    labels = studies.reindex(columns=list(tasks)).astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
    frame["label"] = pd.array(labels.ravel(), dtype="Float64").astype("Int8")
    frame["logit"] = logits.ravel()
    frame["probability"] = expit(logits.ravel())
    frame["probability_calibrated"] = np.nan
    frame["model_id"] = pd.array([model_id] * len(frame), dtype="string")
    return frame


def checked_predictions(predictions: pd.DataFrame) -> pd.DataFrame:
    """A predictions table, ours or another system's, with labels Int8 and every optional column present.

    Labels of -1 become unknown. Absent: logit is taken from probability, cohort is `all`, split is unknown,
    probability_calibrated and threshold_youden are NaN.

    Raises:
        LabelTableError: a required column is absent, a row is doubled, a label is not 1, 0 or unknown, or a
            probability is missing or outside [0, 1], text stands where a number belongs, or a task has two
            thresholds.
    """
    if absent := [column for column in REQUIRED if column not in predictions]:
        raise LabelTableError(f"predictions: columns absent: {absent}; required are {list(REQUIRED)}")
    numbers = {name: _as_numbers(predictions[name]) for name in NUMBERS if name in predictions}
    found = [f"{text} ({int(rows.sum())} rows)" for text, rows in _problems(predictions, numbers) if rows.any()]
    if found:
        raise LabelTableError(f"predictions of {len(predictions)} rows are refused: " + "; ".join(found))
    floats = {name: values.to_numpy(dtype=np.float64, na_value=np.nan) for name, values in numbers.items()}
    label = numbers["label"].mask(numbers["label"] == -1.0).astype("Int8")
    checked = predictions.assign(**floats | {"label": label})
    if "cohort" not in checked:
        checked["cohort"] = pd.array(["all"] * len(checked), dtype="string")
    if "split" not in checked:
        checked["split"] = pd.array([None] * len(checked), dtype="string")
    if "logit" not in checked:
        checked["logit"] = to_logit(floats["probability"])
    if "probability_calibrated" not in checked:
        checked["probability_calibrated"] = np.nan
    if "threshold_youden" not in checked:
        checked["threshold_youden"] = np.nan
    return checked


def _as_numbers(column: pd.Series) -> pd.Series:
    """A column as Float64; text that is no number is missing, and `_problems` counts it."""
    return pd.to_numeric(column, errors="coerce").astype("Float64")


def _problems(predictions: pd.DataFrame, numbers: Mapping[str, pd.Series]) -> Iterator[tuple[str, pd.Series]]:
    """What is wrong, and the rows where it is."""
    for name, values in numbers.items():
        blank = predictions[name].astype("string").str.strip().eq("").fillna(False)
        yield f"{name} is not a number", values.isna() & predictions[name].notna() & ~blank
        if name.startswith("probability"):
            yield f"{name} is outside [0, 1]", ((values < 0) | (values > 1)).fillna(False)
    label, probability = numbers["label"], predictions["probability"]
    yield "label is not 1, 0 or unknown (empty or -1)", ~label.isin([0.0, 1.0, -1.0]) & label.notna()
    missing = probability.isna() | probability.astype("string").str.strip().eq("").fillna(False)
    yield "probability is missing", missing
    yield "study and task stand in more than one row", predictions.duplicated(["study_key", "task"], keep=False)
    yield "patient_key is missing", predictions["patient_key"].isna()
    if "threshold_youden" in numbers:
        of_task = numbers["threshold_youden"].groupby(predictions["task"])
        yield "a task has several values of threshold_youden", of_task.transform("nunique") > 1


def of_split(predictions: pd.DataFrame, split: str) -> pd.DataFrame:
    """Rows of one split; the whole table where no row names a split, as in tables from elsewhere.

    Raises:
        LabelTableError: the table names splits but not this one.
    """
    if predictions["split"].isna().all():
        return predictions
    rows = predictions[(predictions["split"] == split).fillna(False)]
    if rows.empty:
        found = sorted(predictions["split"].dropna().unique())
        raise LabelTableError(f"predictions hold no row of split {split!r}, but of {found}")
    return rows
