"""Label rules as small trees, and their three-valued (Kleene) evaluation over intervals.

Truth of a comparison: true where the whole interval satisfies it, false where none of it does, otherwise unknown.
An unknown value is the interval (-inf, inf), so a missing measurement can only make a label unknown, and narrowing
an interval can turn unknown into known but never one known label into the other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hyperct_pipeline.labels.intervals import KNOWN_REASONS, Intervals, Reason

Operator = Literal["<", "<=", ">", ">="]
# kleene: unknown unless decided; the others exist to reproduce published label sets: a missing operand of an
# any_of counts as negative once one (observed_only) or two (at_least_2_known) operands are known.
OrRule = Literal["kleene", "at_least_2_known", "observed_only"]


@dataclass(frozen=True)
class Compare:
    """`name op number unit`, the number already in the quantity's canonical unit."""

    quantity: str
    operator: Operator
    threshold: float


@dataclass(frozen=True)
class InGroup:
    """`name in group`: the levels that belong to the group, as level numbers."""

    quantity: str
    levels: frozenset[int]


@dataclass(frozen=True)
class FindingPresent:
    """`finding present`: a source states it as present or absent."""

    finding: str


@dataclass(frozen=True)
class AnyOf:
    """True where one part is true, false where all are false."""

    parts: tuple["Rule", ...]


@dataclass(frozen=True)
class AllOf:
    """True where all parts are true, false where one is false."""

    parts: tuple["Rule", ...]


@dataclass(frozen=True)
class BySex:
    """One rule per sex; where the sex is unknown, known only if both agree. Levels of `sex`: 0 = F, 1 = M."""

    female: "Rule"
    male: "Rule"


Rule = Compare | InGroup | FindingPresent | AnyOf | AllOf | BySex


@dataclass(frozen=True)
class Truth:
    """Three-valued result. true, false: shape (n,), never both; neither = unknown. reason: int8 `Reason`."""

    true: NDArray[np.bool_]
    false: NDArray[np.bool_]
    reason: NDArray[np.int8]

    @property
    def known(self) -> NDArray[np.bool_]:
        """Shape (n,): true or false."""
        return self.true | self.false

    def because(self, mask: NDArray[np.bool_], reason: Reason) -> "Truth":
        """Unknown where the mask is true, for the given reason."""
        return Truth(
            self.true & ~mask, self.false & ~mask, np.where(mask, np.int8(reason), self.reason).astype(np.int8)
        )


def inputs(rule: Rule) -> tuple[str, ...]:
    """Names of the quantities and findings that a rule reads, each once, in order."""
    match rule:
        case FindingPresent(finding):
            return (finding,)
        case AnyOf(parts) | AllOf(parts):
            return tuple(dict.fromkeys(name for part in parts for name in inputs(part)))
        case BySex(female, male):
            return tuple(dict.fromkeys([*inputs(female), *inputs(male), "sex"]))
    return (rule.quantity,)


def evaluate(rule: Rule, values: Mapping[str, Intervals], n: int, or_rule: OrRule = "kleene") -> Truth:
    """Evaluate a rule on n rows.

    Args:
        rule: the tree.
        values: name of a quantity or finding -> its intervals, n rows each. A name that is absent is unknown
            with reason `not_available_in_source`.
        n: number of rows.
        or_rule: how any_of treats missing operands.
    """
    match rule:
        case AnyOf(parts):
            return _any_of([evaluate(part, values, n, or_rule) for part in parts], or_rule)
        case AllOf(parts):
            negated = [_negation(evaluate(part, values, n, or_rule)) for part in parts]
            return _negation(_any_of(negated, "kleene"))
        case BySex(female, male):
            branches = [evaluate(branch, values, n, or_rule) for branch in (female, male)]
            return _by_sex(branches[0], branches[1], _value(values, "sex", n))
        case InGroup(quantity, levels):
            return _in_group(_value(values, quantity, n), levels)
        case FindingPresent(finding):
            return _compare(_value(values, finding, n), ">=", 1.0)
        case Compare(quantity, operator, threshold):
            return _compare(_value(values, quantity, n), operator, threshold)


def _value(values: Mapping[str, Intervals], name: str, n: int) -> Intervals:
    return values[name] if name in values else Intervals.unknown(n, Reason.NOT_AVAILABLE_IN_SOURCE)


def _compare(value: Intervals, operator: Operator, threshold: float) -> Truth:
    above = (value.low > threshold) | ((value.low == threshold) & value.low_open)
    below = (value.high < threshold) | ((value.high == threshold) & value.high_open)
    at_least, at_most = value.low >= threshold, value.high <= threshold
    true, false = {
        ">": (above, at_most), ">=": (at_least, below), "<": (below, at_least), "<=": (at_most, above),
    }[operator]  # fmt: skip
    return _with_reason(true, false, value.reason)


def _in_group(value: Intervals, levels: frozenset[int]) -> Truth:
    unique, codes = np.unique(np.stack([value.low, value.high]), axis=1, return_inverse=True)
    true, false = [], []
    for low, high in unique.T:
        whole = np.isfinite(low) and np.isfinite(high)
        covered = set(range(int(low), int(high) + 1)) if whole else set()
        true.append(bool(covered) and covered <= levels)
        false.append(bool(covered) and not covered & levels)
    codes = codes.reshape(-1)
    return _with_reason(np.array(true, bool)[codes], np.array(false, bool)[codes], value.reason)


def _with_reason(true: NDArray[np.bool_], false: NDArray[np.bool_], reason: NDArray[np.int8]) -> Truth:
    stated = np.isin(reason, KNOWN_REASONS)
    decided = np.where(stated, reason, Reason.MEASURED)
    open_ = np.where(stated, Reason.RANGE_STRADDLES, reason)
    return Truth(true, false, np.where(true | false, decided, open_).astype(np.int8))


def _any_of(parts: Sequence[Truth], or_rule: OrRule) -> Truth:
    true = np.any([part.true for part in parts], axis=0)
    known = np.stack([part.known for part in parts])
    reasons = np.stack([part.reason for part in parts])
    need = {"kleene": len(parts), "at_least_2_known": min(2, len(parts)), "observed_only": 1}[or_rule]
    false = ~true & (known.sum(axis=0) >= need)
    # the reason of the parts that decide: the true ones, all known ones, or the unknown ones
    deciding = np.where(true, np.stack([part.true for part in parts]), np.where(false, known, ~known))
    return Truth(true, false, np.where(deciding, reasons, np.int8(-1)).max(axis=0).astype(np.int8))


def _negation(truth: Truth) -> Truth:
    return Truth(truth.false, truth.true, truth.reason)


def _by_sex(female: Truth, male: Truth, sex: Intervals) -> Truth:
    may_be_female, may_be_male = sex.low <= 0, sex.high >= 1
    true = (female.true | ~may_be_female) & (male.true | ~may_be_male)
    false = (female.false | ~may_be_female) & (male.false | ~may_be_male)
    known = true | false
    possible = np.stack([may_be_female, may_be_male])
    branch_known = np.stack([female.known, male.known])
    reasons = np.where(possible & (branch_known == known), np.stack([female.reason, male.reason]), np.int8(-1))
    # both branches known, but different: it is the sex that is missing
    reason = np.where(~known & (branch_known | ~possible).all(axis=0), sex.reason, reasons.max(axis=0))
    return Truth(true, false, reason.astype(np.int8))
