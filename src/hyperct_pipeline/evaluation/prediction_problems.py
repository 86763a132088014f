"""What can be wrong with the cells of a table of predictions, each problem with the rows that have it."""

import re
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

REQUIRED = ("study_key", "patient_key", "task", "label", "probability")
KEYS = ("study_key", "patient_key", "task", "cohort", "split", "model_id")
RIVAL = "probability_"  # a column `probability_<model>` holds another model's predictions
RECALIBRATED = "probability_calibrated"
THRESHOLDS = ("threshold_youden", "threshold_target_sensitivity")
STUDY_NUMBERS = ("age_years", "slice_thickness_mm")
STUDY_TEXTS = ("site", "sex", "scanner", "kernel")
OLDEST_YEARS = 130
COLUMNS = frozenset({*REQUIRED, *KEYS, "group", "logit", RECALIBRATED, *THRESHOLDS, *STUDY_NUMBERS, *STUDY_TEXTS})
"""All that is read of a table, beside other models' predictions."""
_CONTROL = re.compile(r"\0|\r(?!\n)")  # neither survives a CSV

Problem = tuple[str, "pd.Series[bool]"]


def rivals_of(predictions: pd.DataFrame) -> tuple[str, ...]:
    """Names of the further models, in the order of their columns."""
    names = [str(column) for column in predictions.columns]
    return tuple(n.removeprefix(RIVAL) for n in names if n.startswith(RIVAL) and n not in (RECALIBRATED, RIVAL))


def problems(frame: pd.DataFrame, numbers: Mapping[str, pd.Series]) -> Iterator[Problem]:
    """What is wrong, and the rows where it is.

    Args:
        frame: keys as text, the other columns as they were given.
        numbers: the columns of numbers, NaN where a cell is missing or none.
    """
    yield from _of_texts(frame)
    yield from _of_numbers(frame, numbers)
    yield from _of_study_numbers(numbers)
    yield from _of_rows(frame, numbers)


def _of_texts(frame: pd.DataFrame) -> Iterator[Problem]:
    for key in ("study_key", "patient_key", "task"):
        yield f"{key} is missing", frame[key].isna()
    for key in (key for key in (*KEYS, *STUDY_TEXTS) if key in frame):
        control = [text for text in frame[key].dropna().unique() if _CONTROL.search(text)]
        yield f"{key} holds a NUL byte or a lone carriage return", frame[key].isin(control)


def _of_numbers(frame: pd.DataFrame, numbers: Mapping[str, pd.Series]) -> Iterator[Problem]:
    label, rivals = numbers["label"], [RIVAL + model for model in rivals_of(frame)]
    has_no_label = label.isna() | (label == -1.0)
    for name, values in numbers.items():
        wrong = values.isna() & frame[name].notna() & ~is_blank(frame[name])
        yield f"{name} is not a number", wrong
        if name != "label":
            yield f"{name} is a truth value, not a number", _is_truth(frame[name])
        if name in ("probability", *rivals):
            yield f"{name} is missing", values.isna() & ~wrong & ~has_no_label
        if name == RECALIBRATED:
            yield f"{name} is missing beside others of its task", partly_missing(frame, values, has_no_label) & ~wrong
        if name in ("probability", RECALIBRATED, *THRESHOLDS, *rivals):
            outside = (values < 0) | (values > 1)
            hint = ", as percentages would be; divide by 100" if _like_percent(values) else ""
            yield f"{name} is outside [0, 1]{hint}", outside
    yield "label is not 1, 0 or unknown (empty or -1)", label.notna() & ~label.isin([0.0, 1.0, -1.0])


def _like_percent(values: pd.Series) -> bool:
    """Mostly above 1, and all from 0 to 100."""
    known = values.dropna()
    return bool(len(known) and known.between(0.0, 100.0).all() and (known > 1.0).mean() > 0.5)


def partly_missing(frame: pd.DataFrame, values: pd.Series, has_no_label: "pd.Series[bool]") -> "pd.Series[bool]":
    """Rows with a label and without a value although other rows of their task and split have one.

    A recalibrated risk belongs to all rows of a task, or to none.
    """
    place = [frame[column].astype("string") for column in ("task", "split") if column in frame]
    given = values.notna().groupby([column.fillna("") for column in place]).transform("any")
    return values.isna() & given & ~has_no_label


def _of_study_numbers(numbers: Mapping[str, pd.Series]) -> Iterator[Problem]:
    if "age_years" in numbers:
        age = numbers["age_years"]
        text = f"age_years is outside 0 to {OLDEST_YEARS} (unknown is empty or -1)"
        yield text, ((age < 0) & (age != -1.0)) | (age > OLDEST_YEARS)
    if "slice_thickness_mm" in numbers:
        thickness = numbers["slice_thickness_mm"]
        yield "slice_thickness_mm is below 0 (unknown is empty or -1)", (thickness < 0) & (thickness != -1.0)


def _of_rows(frame: pd.DataFrame, numbers: Mapping[str, pd.Series]) -> Iterator[Problem]:
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


def is_blank(column: pd.Series) -> "pd.Series[bool]":
    """Cells of text without a letter."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        return pd.Series(False, index=column.index)
    return column.astype("string").str.strip().eq("").fillna(False).astype(bool)


def _is_truth(column: pd.Series) -> "pd.Series[bool]":
    if pd.api.types.is_bool_dtype(column.dtype):
        return column.notna()
    if not pd.api.types.is_object_dtype(column.dtype):
        return pd.Series(False, index=column.index)
    return column.map(lambda cell: isinstance(cell, bool | np.bool_)).astype(bool)


def _varies(frame: pd.DataFrame, by: str, column: str) -> "pd.Series[bool]":
    """Rows of the groups in which a column has more than one value."""
    pairs = frame[[by, column]].dropna().drop_duplicates()
    several = pairs.loc[pairs[by].duplicated(), by]
    return frame[by].isin(several)
