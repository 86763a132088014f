"""Columns of measurements and words to intervals.

Each distinct text is read once and the result spread over its rows, so cost grows with vocabulary, not with rows.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np
import pandas as pd

from hyperct_pipeline.labels.intervals import Intervals, Reason
from hyperct_pipeline.labels.measurement_text import (
    CELL_UNITS,
    Bounds,
    bare_scale,
    bounds_of,
    column_scale,
    normal_text,
    plain,
)
from hyperct_pipeline.labels.quantities import Quantity, unit_factor

Row = tuple[float, float, bool, bool, Reason]


def read_numbers(
    cells: "pd.Series[str]",
    quantity: Quantity,
    unit: str,
    missing: Sequence[str],
    decimal_comma: bool = False,
    words: Mapping[str, str | None] | None = None,
) -> Intervals:
    """Intervals of a column of measurements, in the quantity's canonical unit, rounded to its resolution.

    Args:
        cells: texts, "" where blank.
        quantity: a quantity of kind number.
        unit: unit of the column; a unit in the cell overrides it.
        missing: texts (or numbers) that stand for "not measured", lower case.
        decimal_comma: whether "5,3" means 5.3.
        words: text -> the measurement it stands for, None for "not measured"; goes before everything else.

    Returns:
        Reason `measured`, or unknown with `not_measured`, `unmapped_text` (also: a unit that does not fit) or
        `out_of_range` (a bound outside the plausible range).
    """
    sentinels = {plain(word) for word in missing}
    known = {plain(word): value for word, value in (words or {}).items()}
    scale, remarks = column_scale(quantity, unit), quantity.remarks

    def read(text: str) -> Row:
        meant = known.get(plain(text), text)
        if meant is None or plain(meant) in sentinels:
            return _nothing(Reason.NOT_MEASURED)
        text = meant
        bounds = bounds_of(normal_text(text, decimal_comma), scale, remarks)
        return _nothing(Reason.UNMAPPED_TEXT) if bounds is None else _plausible(bounds, quantity)

    return _spread(cells, read)


def read_levels(
    cells: "pd.Series[str]",
    quantity: Quantity,
    words: Mapping[str, str | Sequence[str] | None],
    missing: Sequence[str],
) -> Intervals:
    """Ordinal intervals (level numbers) of a column of words.

    Args:
        cells: texts, "" where blank.
        quantity: a quantity of kind grade or category.
        words: vocabulary, lower case: a level, a first and last level, or None for "not measured".
        missing: texts that stand for "not measured", lower case; the vocabulary goes before them.
    """
    number = {level: position for position, level in enumerate(quantity.levels)}
    sentinels = {plain(word) for word in missing}
    known = {plain(word): level for word, level in words.items()}

    def read(text: str) -> Row:
        word = plain(text)
        if word not in known:
            return _nothing(Reason.NOT_MEASURED if word in sentinels else Reason.UNMAPPED_TEXT)
        level = known[word]
        if level is None:
            return _nothing(Reason.NOT_MEASURED)
        ends = [number[name] for name in ([level] if isinstance(level, str) else level)]
        return float(min(ends)), float(max(ends)), False, False, Reason.MEASURED

    return _spread(cells, read)


def likely_unit(text: str, quantity: Quantity, unit: str, decimal_comma: bool = False) -> str | None:
    """Another unit in which the numbers of an implausible text would be plausible, None where there is none.

    Only for numbers without a unit of their own: a unit in the cell is taken at its word.
    """
    normal = normal_text(text, decimal_comma)
    for other in _units_like(str(quantity.unit)):
        if other == unit:
            continue
        bounds = bounds_of(normal, bare_scale(unit_factor(other, str(quantity.unit))), quantity.remarks)
        if bounds is not None and _plausible(bounds, quantity)[4] == Reason.MEASURED:
            return other
    return None


@cache
def _units_like(canonical: str) -> tuple[str, ...]:
    """Units a cell may have that can be converted to the canonical one."""
    found = []
    for unit in dict.fromkeys([*CELL_UNITS.values(), "1"]):
        try:
            unit_factor(unit, canonical)
        except ValueError:
            continue
        found.append(unit)
    return tuple(found)


def _spread(cells: "pd.Series[str]", read: Callable[[str], Row]) -> Intervals:
    codes, unique = pd.factorize(cells)
    return Intervals.from_rows([read(str(text)) for text in unique]).take(np.asarray(codes))


def _nothing(reason: Reason) -> Row:
    return -math.inf, math.inf, False, False, reason


def _plausible(bounds: Bounds, quantity: Quantity) -> Row:
    assert quantity.valid is not None
    low, high = quantity.rounded(np.array(bounds[:2])).tolist()
    ends = [end for end in (low, high) if math.isfinite(end)]
    if not all(quantity.valid[0] <= end <= quantity.valid[1] for end in ends):
        return _nothing(Reason.OUT_OF_RANGE)
    # a bound that rounding moved can be reached by a rounded value
    open_ = [
        o and math.isclose(end, b, rel_tol=1e-9) for end, b, o in zip((low, high), bounds, bounds[2:], strict=False)
    ]
    return low, high, open_[0], open_[1], Reason.MEASURED
