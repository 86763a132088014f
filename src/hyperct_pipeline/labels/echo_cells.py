"""Where each quantity stands in an echo table, and its cells as intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hyperct_pipeline.errors import LabelTableError
from hyperct_pipeline.labels.intervals import Intervals, Reason
from hyperct_pipeline.labels.measurement_text import stated_unit
from hyperct_pipeline.labels.measurements import likely_unit, read_levels, read_numbers
from hyperct_pipeline.labels.quantities import Quantity
from hyperct_pipeline.labels.source_formats import ColumnConfig, EchoFormat, EchoLong, EchoWide
from hyperct_pipeline.labels.tables import needed_column, optional_column, present_columns


@dataclass(frozen=True)
class Read:
    """One column as read: texts, intervals, and which rows of the table it is about (a long table: some)."""

    texts: "pd.Series[str]"
    values: Intervals
    rows: NDArray[np.bool_]

    @property
    def unmapped(self) -> NDArray[np.bool_]:
        """Shape (n,): the text stands for nothing known."""
        return np.asarray(self.values.reason == Reason.UNMAPPED_TEXT) & self.rows


@dataclass(frozen=True)
class Column:
    """Texts of one column, and which rows it is about."""

    texts: "pd.Series[str]"
    rows: NDArray[np.bool_]
    units: "pd.Series[str] | None" = None  # of each row, "" where it states none; None: no column says

    @property
    def shown(self) -> "pd.Series[str]":
        """Texts with the unit of their row, for the report."""
        if self.units is None:
            return self.texts
        return self.texts.mask(self.texts.ne("") & self.units.ne(""), self.texts + " " + self.units)


@dataclass(frozen=True)
class EchoCells:
    """The cells of one quantity, column by column; of a range, the columns of its lower and its upper end."""

    config: ColumnConfig
    columns: tuple[Column, ...]
    ends: tuple[Column, ...] = ()  # none, or two

    @property
    def unit(self) -> str | None:
        """Unit of the numbers."""
        return self.config.unit

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Words that the source itself maps."""
        return tuple(self.config.words or {})

    def read(self, quantity: Quantity, config: EchoFormat) -> tuple[list[Read], list[Read]]:
        """Each column, and each end of a range, as intervals of the quantity."""
        columns, ends = (
            [
                Read(
                    c.shown if quantity.kind == "number" else c.texts,
                    _intervals(c, quantity, self.config, config),
                    c.rows,
                )
                for c in part
            ]
            for part in (self.columns, self.ends)
        )
        return columns, ends

    def likely_units(self, quantity: Quantity, read: Sequence[Read], config: EchoFormat) -> list[tuple[str, int]]:
        """Units that would make implausible values plausible, with how many each would."""
        if quantity.kind != "number" or self.config.unit is None:
            return []
        strange = [one.texts[(one.values.reason == Reason.OUT_OF_RANGE) & one.rows] for one in read]
        texts = pd.concat(strange) if strange else pd.Series(dtype="str")
        counted = texts.value_counts()
        guesses: dict[str, int] = {}
        for text, count in counted.items():
            unit = likely_unit(str(text), quantity, self.config.unit, config.decimal_comma)
            if unit:
                guesses[unit] = guesses.get(unit, 0) + int(count)
        return sorted(guesses.items())


def wide_cells(text: pd.DataFrame, source: str, config: EchoWide) -> dict[str, EchoCells]:
    """Quantity -> its cells, where the table has a column for it.

    Raises:
        LabelTableError: there is none at all, or one is missing while another column has nearly its name.
    """
    id_columns = [
        config.id.patient,
        *config.id.date,
        config.id.study_type,
        *([config.id.exam] if config.id.exam else []),
    ]
    wanted = {name: _names(column) for name, column in config.columns.items()}
    found = present_columns(text, source, wanted, (*id_columns, *config.ignore))
    everywhere = np.ones(len(text), bool)
    return {
        name: EchoCells(
            config.columns[name],
            tuple(Column(text[n], everywhere) for n in config.columns[name].names if n in present),
            _ends(config.columns[name], {n: Column(text[n], everywhere) for n in present}),
        )
        for name, present in found.items()
    }


def long_cells(text: pd.DataFrame, source: str, config: EchoLong) -> dict[str, EchoCells]:
    """Quantity -> its cells, where a row of the table measures it.

    Raises:
        LabelTableError: the columns of name and result are missing, or no row measures anything that is wanted.
    """
    names = needed_column(text, source, config.measurement).str.lower()
    results = needed_column(text, source, config.result)
    units = _row_units(text, source, config)
    there = set(names.unique())
    cells = {}
    for name, column in config.columns.items():
        found = {
            n: Column(results, names.eq(n.lower()).to_numpy(bool), units) for n in _names(column) if n.lower() in there
        }
        if found:
            own = tuple(found[n] for n in column.names if n in found)
            cells[name] = EchoCells(column, own, _ends(column, found))
    if not cells:
        wanted = next(iter(config.columns.values()))
        raise LabelTableError(
            f"Table '{source}': none of its {len(text)} rows is a measurement that its source declares, e.g. "
            f"'{_names(wanted)[0]}' in column '{config.measurement}'. Is it given under the right source name?"
        )
    return cells


def _row_units(text: pd.DataFrame, source: str, config: EchoLong) -> "pd.Series[str] | None":
    """The unit that each row states, "" where it states none; None where the table has no column of units."""
    ids = (config.id.patient, *config.id.date, config.id.study_type, *([config.id.exam] if config.id.exam else []))
    claimed = (config.measurement, config.result, *ids, *config.ignore)
    units = optional_column(text, source, (config.result_unit,), claimed)
    if units is None:
        return None
    return units.mask(units.map({word: stated_unit(word) is None for word in units.unique()}).astype(bool), "")


def _names(column: ColumnConfig) -> tuple[str, ...]:
    return (*column.names, *(column.range or ()))


def _ends(column: ColumnConfig, found: Mapping[str, Column]) -> tuple[Column, ...]:
    """Lower and upper end; one that is missing is blank everywhere."""
    if not column.range or not set(column.range) & set(found):
        return ()
    given = next(iter(found.values()))
    blank = Column(pd.Series("", index=given.texts.index, dtype="str"), np.ones(len(given.texts), bool))
    return tuple(found.get(name, blank) for name in column.range)


def _intervals(cells: Column, quantity: Quantity, column: ColumnConfig, config: EchoFormat) -> Intervals:
    if quantity.kind != "number":
        return read_levels(cells.texts, quantity, column.words or {}, config.missing)
    words = {word: value for word, value in (column.words or {}).items() if isinstance(value, str | None)}

    def read(texts: "pd.Series[str]", unit: str) -> Intervals:
        return read_numbers(texts, quantity, unit, config.missing, config.decimal_comma, words)

    values = read(cells.texts, str(column.unit))
    if cells.units is None:
        return values
    # a number takes the unit of its row, unless the cell itself states one
    for written in cells.units[cells.rows].unique():
        if unit := stated_unit(str(written)):
            here = cells.units.eq(written).to_numpy(bool) & cells.rows
            values = values.replaced(here, read(cells.texts[here], unit))
    return values


def between(low: Intervals, high: Intervals) -> Intervals:
    """From the lower end to the upper one; where only one is stated, it stands for itself."""
    both = low.has_value & high.has_value
    swapped = both & (low.low > high.high)
    first, last = high.where(swapped, low), low.where(swapped, high)
    span = Intervals(first.low, last.high, first.low_open, last.high_open, np.maximum(first.reason, last.reason))
    silent = Intervals(low.low, low.high, low.low_open, low.high_open, np.maximum(low.reason, high.reason))
    return span.where(both, low.where(low.has_value, high.where(high.has_value, silent)))
