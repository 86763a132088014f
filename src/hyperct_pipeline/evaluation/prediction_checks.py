"""What a table of predictions, ours or another system's, must hold before a number is made of it.

A problem is named with the table (`predictions` or `validation`, the parameter that names it), the column, the number
of rows and the first of them, never with a key: those of another system may identify people. Nothing is repaired by a
guess: a prediction that is missing is an error, never a negative.
"""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from hyperct_pipeline.errors import LabelTableError
from hyperct_pipeline.evaluation.cut_off_tables import ENDS_OPEN, refuse_cut_off, refuse_open_end
from hyperct_pipeline.evaluation.prediction_keys import IDENTITIES, as_key, is_no_text, warn_of_missing_words
from hyperct_pipeline.evaluation.prediction_problems import (
    KEYS,
    RECALIBRATED,
    REQUIRED,
    RIVAL,
    STUDY_NUMBERS,
    STUDY_TEXTS,
    THRESHOLDS,
    Problem,
    is_blank,
    partly_missing,
    problems,
    rivals_of,
)
from hyperct_pipeline.metrics.calibration import to_logit

logger = logging.getLogger(__name__)

SHOWN_ROWS = 3  # numbers of rows that a message gives
LOGIT_TOLERANCE = 1e-6  # a logit further than this from its probability belongs to another scale


def checked_predictions(
    predictions: pd.DataFrame, name: str = "predictions", allow_cut_off: bool = False
) -> pd.DataFrame:
    """The table with keys as text, labels Int8, numbers float64 and every optional column present.

    Labels, ages and slice thicknesses of -1 become unknown; true and false are labels too. Absent or unusable: the
    logit is taken from the probability, cohort and split are unknown, recalibrated probability and thresholds are NaN.
    A row without a label needs no prediction.

    Args:
        predictions: one row per study and task.
        name: what the messages call the table.
        allow_cut_off: a table whose last rows seem to be missing is warned about, not refused.

    Raises:
        LabelTableError: a required column is absent or stands twice, a column names no model, there are no rows, a key
            is missing or no text, a row is doubled, a study has two patients, cohorts or splits, a label is not 1, 0
            or unknown, a probability is missing where the label is known, or outside [0, 1], a recalibrated one is
            missing for a part of a task, text or a truth value
            stands where a number belongs, an age is impossible, a task has two thresholds, the table holds several
            models, or its last rows are cut off.
    """
    frame = predictions.rename(columns=lambda column: str(column).strip())
    _refuse_columns(frame, name)
    texts = [key for key in (*KEYS, *STUDY_TEXTS) if key in frame]
    read = (*texts, *_number_columns(frame))
    _refuse(frame, [(f"{c} is bytes, a list or the like, no single value", is_no_text(frame[c])) for c in read], name)
    frame = frame.assign(**{key: as_key(frame[key], key in IDENTITIES) for key in texts})
    numbers = {column: _as_numbers(frame[column]) for column in _number_columns(frame)}
    _refuse(frame, problems(frame, numbers), name)
    warn_of_missing_words(frame, name)
    if predictions.attrs.get(ENDS_OPEN):
        refuse_open_end(name, allow_cut_off)
    refuse_cut_off(frame, name, allow_cut_off)
    numbers |= {column: numbers[column].where(numbers[column] != -1.0) for column in _with_unknown(numbers)}
    checked = frame.assign(**numbers | {"label": numbers["label"].astype("Int8")})
    return _completed(checked)


def _refuse_columns(frame: pd.DataFrame, name: str) -> None:
    """Raises LabelTableError where the columns, or the absence of rows, leave nothing to check."""
    if doubled := sorted(set(frame.columns[frame.columns.duplicated()])):
        raise LabelTableError(f"{name}: columns stand twice: {doubled}")
    if absent := [column for column in REQUIRED if column not in frame]:
        near = [column for column in map(str, frame) if column.lower().replace(" ", "_") in absent]
        hint = f"; found {near}, which must be renamed to the letter" if near else ""
        raise LabelTableError(f"{name}: columns absent: {absent}; required are {list(REQUIRED)}{hint}")
    if RIVAL in frame:
        raise LabelTableError(f"{name}: column {RIVAL!r} names no model; call it {RIVAL}<model>")
    if frame.empty:
        raise LabelTableError(f"{name}: the table has a header of {len(frame.columns)} columns and no rows")


def _refuse(frame: pd.DataFrame, found: Iterable[Problem], name: str) -> None:
    if texts := [f"{text} ({_counted(rows)})" for text, rows in found if rows.any()]:
        raise LabelTableError(f"{name} of {len(frame)} rows are refused: " + "; ".join(texts))


def _counted(rows: "pd.Series[bool]") -> str:
    """`12 rows: 3, 4, 9 ...`, data rows of the table from 1."""
    numbers = (rows.index[rows] + 1).tolist()
    shown = ", ".join(map(str, numbers[:SHOWN_ROWS])) + (" ..." if len(numbers) > SHOWN_ROWS else "")
    return f"{len(numbers)} rows: {shown}"


def without_missing(predictions: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The table without rows that have no prediction, whatever their label, and how many these are.

    So are rows with a label that have no recalibrated risk although others of their task have. They are left out of
    every count; a prediction that is missing is never taken for a negative.
    """
    if "probability" not in predictions:
        return predictions, 0
    missing = predictions["probability"].isna() | is_blank(predictions["probability"])
    kept = predictions[~missing]
    lacking = _lacks_recalibrated(kept)
    for column, n in (("probability", int(missing.sum())), (RECALIBRATED, int(lacking.sum()))):
        if n:
            logger.warning("predictions: column %s: %d rows without a prediction are left out", column, n)
    return kept[~lacking], len(predictions) - len(kept) + int(lacking.sum())


def _lacks_recalibrated(predictions: pd.DataFrame) -> "pd.Series[bool]":
    if not {"task", "label", RECALIBRATED} <= set(predictions):
        return pd.Series(False, index=predictions.index)
    label, values = (_as_numbers(predictions[column]) for column in ("label", RECALIBRATED))
    is_empty = predictions[RECALIBRATED].isna() | is_blank(predictions[RECALIBRATED])  # a word is another problem
    return partly_missing(predictions, values, label.isna() | (label == -1.0)) & is_empty


def _number_columns(frame: pd.DataFrame) -> list[str]:
    wanted = ("label", "logit", "probability", RECALIBRATED, *THRESHOLDS, *STUDY_NUMBERS)
    return [*(c for c in wanted if c in frame), *(RIVAL + model for model in rivals_of(frame))]


def _with_unknown(numbers: Mapping[str, pd.Series]) -> list[str]:
    """Columns in which -1 is unknown."""
    return [column for column in ("label", *STUDY_NUMBERS) if column in numbers]


def _as_numbers(column: pd.Series) -> pd.Series:
    """A column as float64 with NaN for missing; text that is no number is NaN too, and `problems` counts it."""
    if column.name == "label" and not pd.api.types.is_numeric_dtype(column.dtype):
        column = column.astype(object).map(_truth_as_number, na_action="ignore")
    numbers = pd.to_numeric(column, errors="coerce")
    return pd.Series(numbers.to_numpy(dtype=np.float64, na_value=np.nan), index=column.index)


def _truth_as_number(cell: Any) -> Any:
    """True and False, also as CSV writes them, as 1 and 0."""
    return {"true": 1, "false": 0}.get(str(cell).strip().lower(), cell)


def _completed(frame: pd.DataFrame) -> pd.DataFrame:
    """Every optional column, and a logit that belongs to its probability."""
    empty = {"cohort": "string", "split": "string", "model_id": "string"}
    filled = {c: pd.array([None] * len(frame), dtype="string") for c in empty if c not in frame}
    nothing = {c: np.full(len(frame), np.nan) for c in (RECALIBRATED, *THRESHOLDS) if c not in frame}
    probability = frame["probability"].to_numpy(dtype=np.float64)
    logit = to_logit(probability)
    if "logit" in frame:
        given = frame["logit"].to_numpy(dtype=np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            agrees = np.abs(1.0 / (1.0 + np.exp(-given)) - probability) <= LOGIT_TOLERANCE
        logit = np.where(np.isfinite(given) & agrees, given, logit)
    return frame.assign(**filled, **nothing, logit=logit)
