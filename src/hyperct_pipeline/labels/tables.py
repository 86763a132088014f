"""Raw tables: which columns are there, and what to say when one is not. Cells become text, whatever they were."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from hyperct_pipeline.errors import LabelTableError

# A column that nobody claims and that looks this much like a missing one was most likely renamed.
RENAMED_SIMILARITY = 0.8


def as_text(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """The table with every cell as stripped text, "" where missing.

    Raises:
        LabelTableError: a column stands twice, also as the ".1" that readers make of a second one.
    """
    columns = [str(column).strip() for column in table.columns]
    doubled = {c for c in columns if columns.count(c) > 1 or re.sub(r"\.\d+$", "", c) in set(columns) - {c}}
    if doubled:
        raise LabelTableError(f"Table '{name}': the columns {sorted(doubled)} stand twice; keep one of each.")
    text = table.set_axis(columns, axis=1).reset_index(drop=True)
    blank = text.isna()
    filled = text.astype("str").mask(blank, "")
    return pd.DataFrame({column: filled[column].str.strip() for column in filled.columns}, index=filled.index)


def needed_column(table: pd.DataFrame, name: str, column: str) -> "pd.Series[str]":
    """That column.

    Raises:
        LabelTableError: it is not there; names table, column and the nearest spelling.
    """
    if column not in table.columns:
        raise LabelTableError(f"Table '{name}' has no column '{column}'{_like(column, table.columns)}.")
    return table[column]


def present_columns(
    table: pd.DataFrame, name: str, wanted: Mapping[str, Sequence[str]], claimed: Iterable[str] = ()
) -> dict[str, list[str]]:
    """Which of the wanted columns a table has.

    Args:
        table: the table.
        name: its name for messages.
        wanted: what is looked for -> the spellings it may have.
        claimed: further columns that have a use.

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
            if close := difflib.get_close_matches(_letters(spelling), map(_letters, unclaimed), 1, RENAMED_SIMILARITY):
                near = next(column for column in unclaimed if _letters(column) == close[0])
                raise LabelTableError(
                    f"Table '{name}' has no column '{spelling}' (for {key}); nearest: '{near}'. Rename it, or add the "
                    "spelling to the source in parameters_sources.yml."
                )
    if len(missing) == len(wanted):
        first = next(iter(wanted.values()))[0]
        raise LabelTableError(
            f"Table '{name}' has none of the columns its source declares, e.g. '{first}'"
            f"{_like(first, table.columns)}. Is it given under the right source name?"
        )
    return {key: columns for key, columns in found.items() if columns}


def _letters(column: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", column.lower()).strip("_")


def _like(column: str, columns: Iterable[str]) -> str:
    spelled = {_letters(c): c for c in columns}
    close = difflib.get_close_matches(_letters(column), spelled, 1, 0.4)
    return f"; nearest: '{spelled[close[0]]}'" if close else f"; it has {len(spelled)} other columns"


def finding_name(column: str) -> str:
    """'Lung nodule' -> lung_nodule."""
    return _letters(column)
