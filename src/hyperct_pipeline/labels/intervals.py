"""What is known of a quantity: an interval per row, and why it is not narrower.

A measured 45 is [45, 45], "55-60%" is [55, 60], ">60" is (60, inf), and an unknown value is (-inf, inf): three-valued
logic then needs no special case for missing values. Ordinal grades are intervals of level numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


class Reason(IntEnum):
    """Why a label is what it is; the order matters: of several causes the highest one is reported."""

    MEASURED = 0
    DERIVED = 1
    FINDING = 2
    NOT_AVAILABLE_IN_SOURCE = 3
    NOT_MEASURED = 4
    OUTSIDE_WINDOW = 5
    RANGE_STRADDLES = 6
    UNMAPPED_TEXT = 7
    OUT_OF_RANGE = 8
    ALIAS_CONFLICT = 9
    SOURCE_CONFLICT = 10
    EXCLUDED = 11

    @property
    def text(self) -> str:
        """The spelling used in tables."""
        return self.name.lower()


# The reasons that a known label can have.
KNOWN_REASONS = (Reason.MEASURED, Reason.DERIVED, Reason.FINDING)
REASON_TEXTS: NDArray[np.object_] = np.array([reason.text for reason in Reason], dtype=object)


@dataclass(frozen=True)
class Intervals:
    """Bounds of one quantity, row by row, in its canonical unit (or as level numbers).

    Attributes:
        low, high: shape (n,), float64; -inf and inf where nothing is known on that side.
        low_open, high_open: shape (n,), bool; the bound itself is not included.
        reason: shape (n,), int8, a `Reason`: what the value is, or why there is none. A finite interval whose
            reason is a conflict spans the conflicting values: it still decides a rule that both satisfy.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    low_open: NDArray[np.bool_]
    high_open: NDArray[np.bool_]
    reason: NDArray[np.int8]

    @classmethod
    def unknown(cls, n: int, reason: Reason) -> Self:
        """n rows of which nothing is known, for one reason."""
        closed = np.zeros(n, bool)
        return cls(np.full(n, -np.inf), np.full(n, np.inf), closed, closed, np.full(n, reason, np.int8))

    @classmethod
    def from_rows(cls, rows: Sequence[tuple[float, float, bool, bool, Reason]]) -> Self:
        """One (low, high, low_open, high_open, reason) per row."""
        low, high, low_open, high_open, reason = zip(*rows, strict=True) if rows else ((), (), (), (), ())
        return cls(
            np.array(low, np.float64), np.array(high, np.float64), np.array(low_open, bool),
            np.array(high_open, bool), np.array(reason, np.int8),
        )  # fmt: skip

    @property
    def has_value(self) -> NDArray[np.bool_]:
        """Shape (n,): at least one side is bounded."""
        return np.isfinite(self.low) | np.isfinite(self.high)

    def __len__(self) -> int:
        return len(self.low)

    def take(self, rows: NDArray[Any]) -> Self:
        """The given rows (indices or mask), in that order."""
        return type(self)(self.low[rows], self.high[rows], self.low_open[rows], self.high_open[rows], self.reason[rows])

    def where(self, mask: NDArray[np.bool_], other: "Intervals") -> "Intervals":
        """Own rows where the mask is true, the other's elsewhere."""
        return Intervals(
            np.where(mask, self.low, other.low), np.where(mask, self.high, other.high),
            np.where(mask, self.low_open, other.low_open), np.where(mask, self.high_open, other.high_open),
            np.where(mask, self.reason, other.reason).astype(np.int8),
        )  # fmt: skip

    def replaced(self, rows: NDArray[np.bool_], others: "Intervals") -> "Intervals":
        """The others, in order, at the rows where the mask is true; own rows elsewhere."""
        place = np.cumsum(rows) - 1
        return others.take(np.maximum(place, 0)).where(rows, self) if rows.any() else self

    def because(self, mask: NDArray[np.bool_], reason: Reason) -> "Intervals":
        """Nothing known any more where the mask is true, for the given reason."""
        return Intervals.unknown(len(self), reason).where(mask, self)


def hull(first: Intervals, second: Intervals, reason: Reason) -> Intervals:
    """The smallest intervals that hold both, row by row, under the given reason.

    A bound is open only where every interval that reaches it leaves it out.
    """
    low, high = np.minimum(first.low, second.low), np.maximum(first.high, second.high)
    low_open = (first.low_open | (first.low > low)) & (second.low_open | (second.low > low))
    high_open = (first.high_open | (first.high < high)) & (second.high_open | (second.high < high))
    return Intervals(low, high, low_open, high_open, np.full(len(low), reason, np.int8))


def agree(first: Intervals, second: Intervals, tolerance: float, reason: Reason) -> Intervals:
    """Two statements about one quantity: where one has no value the other counts.

    Intervals that overlap are cut to what they share; those apart by no more than the tolerance are joined;
    those further apart are a conflict, of which nothing is known, for the given reason.
    """
    shared = Intervals(
        np.maximum(first.low, second.low),
        np.minimum(first.high, second.high),
        np.where(first.low >= second.low, first.low_open, second.low_open),
        np.where(first.high <= second.high, first.high_open, second.high_open),
        np.minimum(first.reason, second.reason),
    )
    gap = shared.low - shared.high
    # a millionth of the tolerance: differences of rounded numbers carry float noise
    joined = hull(first, second, Reason.MEASURED)
    overlap = (gap < 0) | ((gap == 0) & ~shared.low_open & ~shared.high_open)
    both = shared.where(overlap, joined.because(gap > tolerance * (1 + 1e-6), reason))
    one = first.where(first.has_value | (~second.has_value & (first.reason >= second.reason)), second)
    return both.where(first.has_value & second.has_value, one)


def agreed(columns: Sequence[Intervals], tolerance: float) -> Intervals:
    """What several columns say of one thing; two that contradict each other are not outvoted by a third."""
    merged, conflict = columns[0], np.zeros(len(columns[0]), bool)
    for column in columns[1:]:
        merged = agree(merged, column, tolerance, Reason.ALIAS_CONFLICT)
        conflict |= merged.reason == Reason.ALIAS_CONFLICT
    return merged.because(conflict, Reason.ALIAS_CONFLICT)


def spanned(values: Intervals, codes: NDArray[np.intp], n: int) -> Intervals:
    """What the rows of each group say together, shape (n,).

    Rows that say the same count once. Rows that differ become the smallest interval that holds them all, with reason
    `source_conflict`: a rule they agree on is decided, any other is not. A group without a value has the most telling
    reason of its rows, `not_measured` if it has none.

    Args:
        values: one per row.
        codes: number of the group, one per row, 0 to n - 1.
        n: number of groups.
    """
    reason = np.full(n, Reason.NOT_MEASURED, np.int8)
    silent = ~values.has_value
    np.maximum.at(reason, codes[silent], values.reason[silent])
    low, high, lowest_high, highest_low = (np.full(n, bound) for bound in (np.inf, -np.inf, np.inf, -np.inf))
    said, group = values.take(~silent), codes[~silent]
    np.minimum.at(low, group, said.low)
    np.maximum.at(high, group, said.high)
    np.maximum.at(highest_low, group, said.low)
    np.minimum.at(lowest_high, group, said.high)
    there = np.zeros(n, bool)
    there[group] = True
    low_closed, high_closed, low_opened, high_opened = (np.zeros(n, bool) for _ in range(4))
    low_closed[group[(said.low == low[group]) & ~said.low_open]] = True
    high_closed[group[(said.high == high[group]) & ~said.high_open]] = True
    low_opened[group[said.low_open]] = high_opened[group[said.high_open]] = True
    differ = (low != highest_low) | (high != lowest_high)
    differ |= (low_opened & low_closed) | (high_opened & high_closed)
    own = np.full(n, Reason.EXCLUDED, np.int8)
    np.minimum.at(own, group, said.reason)
    return Intervals(
        np.where(there, low, -np.inf), np.where(there, high, np.inf), there & ~low_closed, there & ~high_closed,
        np.where(there, np.where(differ, np.int8(Reason.SOURCE_CONFLICT), own), reason).astype(np.int8),
    )  # fmt: skip


def texts(intervals: Intervals, names: Sequence[str] = ()) -> NDArray[np.object_]:
    """Readable evidence per row, shape (n,): "45", "55 to 60", "> 60", a level's name; "" where unknown.

    Built from the parsed numbers only, so no free text of a table can pass through.
    """
    columns = np.stack([intervals.low, intervals.high, intervals.low_open, intervals.high_open])
    unique, codes = np.unique(columns, axis=1, return_inverse=True)
    words = [_text((low, high), (low_open > 0, high_open > 0), names) for low, high, low_open, high_open in unique.T]
    return np.array(words, dtype=object)[codes.reshape(-1)] if words else np.empty(0, object)


def _text(bounds: tuple[float, float], open_: tuple[bool, bool], names: Sequence[str]) -> str:
    (low, high), (low_open, high_open) = bounds, open_

    def show(value: float) -> str:
        return names[int(value)] if names else f"{value:.6g}"

    if not np.isfinite(low):
        return f"{'<' if high_open else '<='} {show(high)}" if np.isfinite(high) else ""
    if not np.isfinite(high):
        return f"{'>' if low_open else '>='} {show(low)}"
    return show(low) if low == high else f"{show(low)} to {show(high)}"
