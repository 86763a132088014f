"""Keys of studies, patients and tasks as text, alike in every table and file format."""

import logging
import re
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

logger = logging.getLogger(__name__)

IDENTITIES = ("study_key", "patient_key")
# How programs write a number that is missing. In a column of text these are words like any other.
MISSING_WORDS = ("NA", "N/A", "NaN", "nan", "null", "NULL", "None", "<NA>")
_LEADING_ZEROS = re.compile(r"(?<!\d)0+(?=\d)")
_NO_TEXT = (bytes, bytearray, list, tuple, dict, set, np.ndarray)


def as_key(column: pd.Series, is_identity: bool = False) -> pd.Series:
    """Text without blanks around it; an empty cell is missing.

    A whole number has no decimals, whatever type the file gave it: 12.0 is 12. With `is_identity` that holds for text
    too, since a CSV writes `12.0` where a column of whole numbers once had a gap.
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    if pd.api.types.is_float_dtype(column.dtype) or pd.api.types.is_object_dtype(column.dtype):
        column = column.astype(object).map(_whole, na_action="ignore")
    text = column.astype("string").str.strip()
    if is_identity:
        text = text.str.replace(r"^(-?\d+)\.0+$", r"\1", regex=True)
    return text.mask(text == "")


def _whole(cell: Any) -> Any:
    is_whole = isinstance(cell, float | np.floating | Decimal) and cell % 1 == 0
    return str(int(cell)) if is_whole else cell


def is_no_text(column: pd.Series) -> "pd.Series[bool]":
    """Cells that hold bytes, a list or the like: their text would be a guess."""
    if not pd.api.types.is_object_dtype(column.dtype):
        return pd.Series(False, index=column.index)
    return column.map(lambda cell: isinstance(cell, _NO_TEXT)).astype(bool)


def warn_of_missing_words(frame: pd.DataFrame, name: str) -> None:
    """Say where a study or patient is called `NA` or the like: all such rows are taken for one."""
    for column in IDENTITIES:
        if n := int(frame[column].isin(MISSING_WORDS).sum()):
            logger.warning(
                "%s: column %s: %d rows hold a word such as NA or None, which is read as a key like any other; leave "
                "the cell empty if the key is missing",
                name,
                column,
                n,
            )


def warn_of_similar_keys(*tables: pd.DataFrame) -> None:
    """Say how many keys differ from another one only by case, blanks or leading zeros: they may mean the same."""
    for column in IDENTITIES:
        keys = pd.Series(pd.unique(pd.concat([table[column] for table in tables]).dropna()), dtype="object")
        similar = keys.map(_folded).duplicated(keep=False)
        if n := int(similar.sum()):
            logger.warning(
                "column %s: %d keys differ from another one only by case, blanks or leading zeros; they are taken for "
                "different ones. Write them alike if they are not",
                column,
                n,
            )


def _folded(key: str) -> str:
    return _LEADING_ZEROS.sub("", "".join(key.split()).casefold())
