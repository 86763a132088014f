"""Raw tables: which columns are there, and what to say when one is not. Cells become text, whatever they were."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hyperct_pipeline.errors import LabelTableError
from hyperct_pipeline.labels.shown_columns import RENAMED_SIMILARITY, doubled_columns, may_be_shown, shown_column
from hyperct_pipeline.labels.spelling import nearest_column

_MARK = "\ufeff"


def as_text(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """The table with every cell as stripped text, "" where missing.

    Raises:
        LabelTableError: as for `column_names`.
    """
    columns = column_names(table, name)
    text = {column: _stripped(table.iloc[:, place]) for place, column in enumerate(columns) if column}
    return pd.DataFrame(text, index=pd.RangeIndex(len(table)))


def column_names(table: pd.DataFrame, name: str) -> list[str]:
    """Stripped names of the columns; "" where a column has none.

    Raises:
        LabelTableError: the table has no columns, or a column stands twice, also as the ".1" that readers make of a
            second one.
    """
    if not isinstance(table, pd.DataFrame):
        raise LabelTableError(f"Table '{name}' is a {type(table).__name__}; expected a pandas data frame.")
    columns = [str(column).strip().strip(_MARK).strip() for column in table.columns]
    if not any(columns):
        raise LabelTableError(f"Table '{name}' is empty: expected a header line and rows.")
    counts = Counter(columns)
    doubled = {
        c for c in counts if c and (counts[c] > 1 or ((first := re.sub(r"\.\d+$", "", c)) != c and first in counts))
    }
    if doubled:
        raise LabelTableError(
            f"Table '{name}': the columns {doubled_columns(doubled, columns)} stand twice; keep one of each."
        )
    return columns


def _stripped(cells: "pd.Series[Any]") -> "pd.Series[str]":
    if cells.dtype == object:
        # as text first: to a hash, 1 and True are the same, and a list is nothing at all
        cells = cells.map(str).mask(cells.isna())
    # each distinct cell is looked at once
    codes, unique = pd.factorize(cells)
    words = pd.Series(unique).astype("str").str.strip().str.strip(_MARK).to_numpy(object)
    words = np.append(np.asarray(words, dtype=object), "")  # code -1 is a missing cell
    return pd.Series(words[codes], dtype="str")


def needed_column(table: pd.DataFrame, name: str, column: str) -> "pd.Series[str]":
    """That column.

    Raises:
        LabelTableError: it is not there; names table, column and the nearest spelling.
    """
    if column not in table.columns:
        raise LabelTableError(f"Table '{name}' has no column '{column}'{_like(column, table.columns)}")
    return table[column]


def present_columns(
    table: pd.DataFrame, name: str, wanted: Mapping[str, Sequence[str]], claimed: Iterable[str] = ()
) -> dict[str, list[str]]:
    """Which of the wanted columns a table has.

    Args:
        table: the table.
        name: its name for messages.
        wanted: what is looked for -> the spellings it may have.
        claimed: further columns that have a use, or that the source says to ignore.

    Returns:
        What was found -> its columns, at least one entry.

    Raises:
        LabelTableError: none was found, or one is missing while an unclaimed column has nearly its name.
    """
    found = {key: [s for s in spellings if s in table.columns] for key, spellings in wanted.items()}
    used = {column for columns in found.values() for column in columns} | set(claimed)
    unclaimed = [column for column in table.columns if column not in used]
    missing = {key: wanted[key] for key, columns in found.items() if not columns}
    for key, spellings in missing.items():
        for spelling in spellings:
            if near := nearest_column(spelling, unclaimed, RENAMED_SIMILARITY):
                raise LabelTableError(
                    f"Table '{name}' has no column '{spelling}' (for {key}); nearest: "
                    f"{shown_column(near, list(table.columns), spellings)}. Rename it, add the spelling to the "
                    "source in parameters_sources.yml, or list it there under `ignore`."
                )
    if len(missing) == len(wanted):
        first = next(iter(wanted.values()))[0]
        raise LabelTableError(
            f"Table '{name}' has none of the columns its source declares, e.g. '{first}'"
            f"{_like(first, table.columns)} Is it given under the right source name?"
        )
    return {key: columns for key, columns in found.items() if columns}


def optional_column(
    table: pd.DataFrame, name: str, spellings: Sequence[str], claimed: Iterable[str] = ()
) -> "pd.Series[str] | None":
    """The first of the spellings that the table has, None where it has none.

    Args:
        table: the table.
        name: its name for messages.
        spellings: of the column.
        claimed: columns that have another use, or that the source says to ignore.

    Raises:
        LabelTableError: it is missing while an unclaimed column has nearly its name.
    """
    if (found := next((s for s in spellings if s in table.columns), None)) is not None:
        return table[found]
    taken = set(claimed)
    unclaimed = [column for column in table.columns if column not in taken]
    for spelling in spellings:
        if near := nearest_column(spelling, unclaimed, RENAMED_SIMILARITY):
            raise LabelTableError(
                f"Table '{name}' has no column '{spelling}'; nearest: "
                f"{shown_column(near, list(table.columns), spellings)}. Rename it, add the spelling to the source in "
                "parameters_sources.yml, or list it there under `ignore`."
            )
    return None


def _like(column: str, columns: Iterable[str]) -> str:
    known = list(columns)
    near = nearest_column(column, [name for name in known if may_be_shown(name, [column])], 0.4)
    return f"; nearest: '{near}'." if near else f"; it has {len(known)} other columns. Does it have a header line?"
