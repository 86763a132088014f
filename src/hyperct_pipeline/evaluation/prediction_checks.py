"""What a table of predictions, ours or another system's, must hold before a number is made of it.

A problem is named with the table (`predictions` or `validation`, the parameter that names it), the column and the
number of rows, never with a key: those of another system may identify people. Nothing is repaired by a guess: a
prediction that is missing is an error, never a negative.
"""

import logging
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from hyperct_pipeline.errors import LabelTableError, LeakageError
from hyperct_pipeline.evaluation.cut_off_tables import refuse_cut_off
from hyperct_pipeline.metrics.calibration import to_logit

logger = logging.getLogger(__name__)

REQUIRED = ("study_key", "patient_key", "task", "label", "probability")
KEYS = ("study_key", "patient_key", "task", "cohort", "split", "model_id")
RIVAL = "probability_"  # a column `probability_<model>` holds another model's predictions
RECALIBRATED = "probability_calibrated"
THRESHOLDS = ("threshold_youden", "threshold_target_sensitivity")
STUDY_NUMBERS = ("age_years", "slice_thickness_mm")
STUDY_TEXTS = ("site", "sex", "scanner", "kernel")
LOGIT_TOLERANCE = 1e-6  # a logit further than this from its probability belongs to another scale


def rivals_of(predictions: pd.DataFrame) -> tuple[str, ...]:
    """Names of the further models, in the order of their columns."""
    names = [str(column) for column in predictions.columns]
    return tuple(n.removeprefix(RIVAL) for n in names if n.startswith(RIVAL) and n not in (RECALIBRATED, RIVAL))


def checked_predictions(predictions: pd.DataFrame, name: str = "predictions") -> pd.DataFrame:
    """The table with keys as text, labels Int8, numbers float64 and every optional column present.

    Labels of -1 become unknown. Absent or unusable: the logit is taken from the probability, cohort and split are
    unknown, recalibrated probability and thresholds are NaN.

    Args:
        predictions: one row per study and task.
        name: what the messages call the table.

    Raises:
        LabelTableError: a required column is absent or stands twice, there are no rows, a key is missing, a row is
            doubled, a study has two patients, cohorts or splits, a label is not 1, 0 or unknown, a probability is
            missing or outside [0, 1], text stands where a number belongs, a task has two thresholds, the table holds
            several models, or its last rows are cut off.
    """
    frame = predictions.rename(columns=lambda column: str(column).strip())
    if doubled := sorted(set(frame.columns[frame.columns.duplicated()])):
        raise LabelTableError(f"{name}: columns stand twice: {doubled}")
    if absent := [column for column in REQUIRED if column not in frame]:
        raise LabelTableError(f"{name}: columns absent: {absent}; required are {list(REQUIRED)}")
    if frame.empty:
        raise LabelTableError(f"{name}: the table has a header and no rows")
    frame = frame.assign(**{key: _as_key(frame[key]) for key in (*KEYS, *STUDY_TEXTS) if key in frame})
    numbers = {column: _as_numbers(frame[column]) for column in _number_columns(frame)}
    found = [f"{text} ({int(rows.sum())} rows)" for text, rows in _problems(frame, numbers) if rows.any()]
    if found:
        raise LabelTableError(f"{name} of {len(frame)} rows are refused: " + "; ".join(found))
    refuse_cut_off(frame, name)
    label = numbers.pop("label")
    known = label.where(label != -1.0)
    checked = frame.assign(**numbers | {"label": known.astype("Int8")})
    return _completed(checked)


def without_missing(predictions: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The table without rows that have no prediction, whatever their label, and how many these are.

    They are left out of every count; a prediction that is missing is never taken for a negative.
    """
    if "probability" not in predictions:
        return predictions, 0
    missing = predictions["probability"].isna() | _is_blank(predictions["probability"])
    if n := int(missing.sum()):
        logger.warning("predictions: column probability: %d rows without a prediction are left out", n)
    return predictions[~missing], n


def _number_columns(frame: pd.DataFrame) -> list[str]:
    wanted = ("label", "logit", "probability", RECALIBRATED, *THRESHOLDS, *STUDY_NUMBERS)
    return [*(c for c in wanted if c in frame), *(RIVAL + model for model in rivals_of(frame))]


def _as_key(column: pd.Series) -> pd.Series:
    """Text without blanks around it; an empty cell is missing."""
    text = column.astype("string").str.strip()
    return text.mask(text == "")


def _as_numbers(column: pd.Series) -> pd.Series:
    """A column as float64 with NaN for missing; text that is no number is NaN too, and `_problems` counts it."""
    numbers = pd.to_numeric(column, errors="coerce")
    return pd.Series(numbers.to_numpy(dtype=np.float64, na_value=np.nan), index=column.index)


def _problems(frame: pd.DataFrame, numbers: Mapping[str, pd.Series]) -> Iterator[tuple[str, "pd.Series[bool]"]]:
    """What is wrong, and the rows where it is."""
    for key in ("study_key", "patient_key", "task"):
        yield f"{key} is missing", frame[key].isna()
    rivals = [RIVAL + model for model in rivals_of(frame)]
    for name, values in numbers.items():
        wrong = values.isna() & frame[name].notna() & ~_is_blank(frame[name])
        yield f"{name} is not a number", wrong
        if name in ("probability", *rivals):
            yield f"{name} is missing", values.isna() & ~wrong
        if name in ("probability", RECALIBRATED, *rivals):
            yield f"{name} is outside [0, 1]", (values < 0) | (values > 1)
    label = numbers["label"]
    yield "label is not 1, 0 or unknown (empty or -1)", label.notna() & ~label.isin([0.0, 1.0, -1.0])
    yield "study and task stand in more than one row", frame.duplicated(["study_key", "task"], keep=False)
    for column in ("patient_key", "cohort", "split"):
        if column in frame:
            yield f"a study has several values of {column}", _varies(frame, "study_key", column)
    for column in THRESHOLDS:
        if column in numbers:
            given = frame.assign(**{column: numbers[column]})
            yield f"a task has several values of {column}", _varies(given, "task", column)
    if "model_id" in frame and frame["model_id"].nunique() > 1:
        yield "model_id names several models", frame["model_id"].notna()


def _is_blank(column: pd.Series) -> "pd.Series[bool]":
    if pd.api.types.is_numeric_dtype(column.dtype):
        return pd.Series(False, index=column.index)
    return column.astype("string").str.strip().eq("").fillna(False).astype(bool)


def _varies(frame: pd.DataFrame, by: str, column: str) -> "pd.Series[bool]":
    """Rows of the groups in which a column has more than one value."""
    pairs = frame[[by, column]].dropna().drop_duplicates()
    several = pairs.loc[pairs[by].duplicated(), by]
    return frame[by].isin(several)


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


def of_split(predictions: pd.DataFrame, split: str, name: str = "predictions") -> pd.DataFrame:
    """Rows of one split; the whole table where no row names a split, as in tables from elsewhere.

    Raises:
        LabelTableError: the table names splits but not this one.
        LeakageError: a patient stands in two splits of the table.
    """
    if predictions["split"].isna().all():
        return predictions
    pairs = predictions[["patient_key", "split"]].dropna().drop_duplicates()
    shared = pairs.loc[pairs["patient_key"].duplicated(), "patient_key"]
    if len(shared):
        raise LeakageError(
            f"{name}: column split: {shared.nunique()} patients stand in more than one split; each must have one"
        )
    rows = predictions[(predictions["split"] == split).fillna(False)]
    if rows.empty:
        counts = predictions["split"].value_counts().to_dict()
        raise LabelTableError(f"{name}: column split: no row of split {split!r}; rows of each split: {counts}")
    if left_out := len(predictions) - len(rows):
        logger.info("%s: %d rows of other splits than %s are left out", name, left_out, split)
    return rows
