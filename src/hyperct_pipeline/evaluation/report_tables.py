"""What a table of the report is: numbers as text, an undefined number as a dash, and the same as CSV."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hyperct_pipeline.harmless_csv import harmless

DASH = "\N{EN DASH}"
STATUS_TEXT = {
    "ok": "",
    "low_count": "fewer than 10 of a class",
    "one_class": "one class only",
    "no_labels": "no known label",
    "suppressed": "too few to show",
}
WORDS = {"lr": "learning rate", "auroc": "AUROC", "auc": "AUROC", "hu": "HU", "yx": "(rows, columns)", "id": "id"}


TEXT_COLUMNS = (
    "Note", "Recalibration", "Why there is no volume", "Why not eligible", "Not used", "Source", "Value", "Where",
    "Topic", "Group", "Cohort", "Tasks", "Subgroup", "Metric", "Rival", "Model", "Error", "Risk", "Transfer",
    "Weights", "The other task", "Item", "Reason", "Section",
)  # fmt: skip


@dataclass(frozen=True)
class Table:
    """A table ready for HTML: the first cell of a row is its header; columns named in `texts` are left-aligned."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: Sequence[str] = TEXT_COLUMNS
    longer: "Table | None" = None  # with columns that are too many for a page: what the CSV holds

    @property
    def csv_source(self) -> str:
        """The table as a CSV that a link can carry."""
        whole = self.longer or self
        frame = pd.DataFrame([list(row) for row in whole.rows], columns=list(whole.columns))
        text = harmless(frame).to_csv(index=False, lineterminator="\r\n")
        return "data:text/csv;charset=utf-8;base64," + base64.b64encode(text.encode()).decode()

    @property
    def file_name(self) -> str:
        """Name of the CSV."""
        kept = "".join(c if c.isalnum() else "_" for c in self.caption.lower())
        return "_".join(part for part in kept.split("_") if part)[:60] + ".csv"


def without_empty(table: Table, column: str) -> Table:
    """The table without a column in which every cell is empty."""
    at = list(table.columns).index(column)
    if any(row[at] for row in table.rows):
        return table
    columns, *rows = ([cell for k, cell in enumerate(row) if k != at] for row in (table.columns, *table.rows))
    return Table(table.caption, columns, rows)


def number(value: object, digits: int = 3) -> str:
    """A number as text: whole numbers without decimals, undefined as a dash, text as it is.

    A number too small for its digits is written as 1.25e-05, because 0.000 would be wrong.
    """
    if value is None or value is pd.NA or (isinstance(value, float | np.floating) and np.isnan(value)):
        return DASH
    if isinstance(value, float | np.floating):
        shown = float(value)
        tiny = shown != 0 and abs(shown) < 0.5 * 10.0**-digits
        return f"{shown:.2e}" if tiny else f"{shown:.{digits}f}"
    return str(value)


def fixed(value: float, digits: int) -> str:
    """A number with so many decimals and no other format; one too small for them as `< 0.01` or `> -0.01`."""
    if pd.isna(value):
        return DASH
    least = f"{10.0**-digits:.{digits}f}"
    if value != 0 and abs(value) < 0.5 * 10.0**-digits:
        return f"< {least}" if value > 0 else f"> -{least}"
    return f"{value:.{digits}f}"


def p_value(value: float | None) -> str:
    """A p value with three digits; below 0.001 as such."""
    if value is None or pd.isna(value):
        return DASH
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def with_interval(value: float, low: float, high: float, digits: int = 2) -> str:
    """`0.81 (0.70 to 0.89)`; a value whose limits are undefined says so."""
    if pd.isna(value):
        return DASH
    limits = "interval undefined" if pd.isna(low) or pd.isna(high) else f"{low:.{digits}f} to {high:.{digits}f}"
    return f"{value:.{digits}f} ({limits})"


def words(name: str) -> str:
    """`with_known_label` as `With known label`."""
    parts = [WORDS.get(part, part) for part in name.replace("/", " ").split("_")]
    text = " ".join(parts)
    return text[:1].upper() + text[1:]


def facts_table(facts: Mapping[str, object], caption: str) -> Table:
    """Names and values; lists and nested facts in one line."""
    rows = []
    for key, value in facts.items():
        if isinstance(value, Mapping):
            text = "; ".join(f"{words(str(name))}: {number(item)}" for name, item in value.items())
        elif isinstance(value, list | tuple):
            text = ", ".join(map(str, value))
        else:
            text = number(value)
        rows.append([words(key), text])
    return Table(caption, ["Fact", "Value"], rows)
