"""CSV that a spreadsheet opens without running anything.

A cell that begins with = + - @, a tab or a carriage return is taken for a formula by spreadsheets (OWASP, CSV
injection). Such text gets an apostrophe in front, which they show as text. Numbers stay numbers: neither -5 nor
-0.02 (-0.05 to 0.01) / -0.1 is a formula.
Text that has apostrophes before such a sign already gets one more, so that taking one away restores every text.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = r"-?\d+(\.\d+)?(e-?\d+)?"
_WITH_INTERVAL = re.compile(rf"{_NUMBER}( \(({_NUMBER} to {_NUMBER}|interval undefined)\))?( / {_NUMBER})?")


def write_csv(table: pd.DataFrame, file: Path, **options: Any) -> None:
    """Write a table, without its index unless the options say otherwise, every text cell harmless."""
    harmless(table).to_csv(file, **{"index": False, **options})


def harmless(table: pd.DataFrame) -> pd.DataFrame:
    """The table with an apostrophe before every text that a spreadsheet would run; column names too."""
    return _changed(table, _harmless)


def restored(table: pd.DataFrame) -> pd.DataFrame:
    """The table as it was before `harmless`: text and column names lose the apostrophe that was put before them."""
    return _changed(table, _restored)


def _changed(table: pd.DataFrame, change: Callable[[Any], Any]) -> pd.DataFrame:
    changed = {
        str(name): column.map(change, na_action="ignore")
        for name, column in table.items()
        if not pd.api.types.is_numeric_dtype(column) and _any_formula(column)
    }
    return (table.assign(**changed) if changed else table).rename(columns=change)


def _any_formula(column: "pd.Series[Any]") -> bool:
    return any(_is_formula(cell) for cell in column.unique().tolist())


def _is_formula(cell: Any) -> bool:
    bare = cell.lstrip("'") if isinstance(cell, str) else ""
    return bare.startswith(_FORMULA) and not _is_number(bare)


def _harmless(cell: Any) -> Any:
    return "'" + cell if _is_formula(cell) else cell


def _restored(cell: Any) -> Any:
    return cell[1:] if _is_formula(cell) and cell.startswith("'") else cell


def _is_number(cell: str) -> bool:
    if _WITH_INTERVAL.fullmatch(cell):
        return True
    try:
        float(cell)
    except ValueError:
        return False
    return cell == cell.strip()
