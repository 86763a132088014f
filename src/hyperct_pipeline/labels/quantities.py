"""The measured things that a rule may name: one canonical unit each, a plausible range, or ordered levels."""

import re
from decimal import Decimal
from functools import cache
from typing import Any, Literal

import numpy as np
import pint
from numpy.typing import NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from hyperct_pipeline.labels.remarks import Remarks

# Names, small whole powers, products and quotients: nothing else of what a unit parser could be made to compute.
_UNIT_NAME = r"(?:1|%|[a-zA-Zµ]+(?:(?:\*\*|\^)[1-9])?)"
_UNIT = re.compile(rf"{_UNIT_NAME}(?:\s*[*/]\s*{_UNIT_NAME})*")


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Quantity:
    """One quantity of the catalogue; its name is the key it stands under.

    Numbers have `unit`, `valid` and `resolution`; grades (ordered) and categories have `levels`.
    """

    kind: Literal["number", "grade", "category"] = "number"
    unit: str | None = None  # canonical unit as pint spells it, "1" for a ratio
    valid: tuple[float, float] | None = None  # plausible range, canonical unit; outside is unknown
    resolution: float | None = None  # canonical unit; values are rounded to it before any rule sees them
    label: str = ""  # readable name
    # lower case; with any other word beside a number, the cell is not read as a measurement
    abbreviations: tuple[str, ...] = ()  # "lvef" in "LVEF: 45%"
    grade_words: tuple[str, ...] = ()  # "mildly", "reduced" in "mildly reduced (45%)"
    method_words: tuple[str, ...] = ()  # "visual" in "45% (visual)"
    levels: tuple[str, ...] = ()  # of a grade: from best to worst
    groups: dict[str, tuple[str, ...]] | None = None  # name of a group -> its levels

    @property
    def remarks(self) -> Remarks:
        """Words that may stand beside its numbers."""
        return Remarks(
            *(frozenset(map(str.lower, w)) for w in (self.abbreviations, self.grade_words, self.method_words))
        )

    def problems(self) -> list[str]:
        """What is missing or impossible in this entry, in words; empty when it is sound."""
        if self.kind != "number":
            missing = [] if self.levels else ["levels are missing"]
            missing += [f"level '{level}' stands twice" for level in set(self.levels) if self.levels.count(level) > 1]
            strange = [
                f"group '{group}' names the unknown level '{level}'"
                for group, levels in (self.groups or {}).items()
                for level in levels
                if level not in self.levels
            ]
            return missing + strange
        missing = [f"{name} is missing" for name in ("unit", "valid", "resolution") if not getattr(self, name)]
        if self.unit and not is_unit(self.unit):
            missing.append(f"'{self.unit}' is no unit")
        if self.valid and self.valid[0] >= self.valid[1]:
            missing.append(f"valid {list(self.valid)} is empty")
        if self.resolution is not None and self.resolution <= 0:
            missing.append("resolution is not positive")
        return missing

    def rounded(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values to the resolution, as the floats nearest to the decimal numbers: 53 mm is 5.3 cm, not 5.300...1."""
        assert self.resolution is not None
        digits = max(0, -int(Decimal(str(self.resolution)).normalize().as_tuple().exponent))
        rounded: NDArray[np.float64] = np.round(np.rint(values / self.resolution) * self.resolution, digits)
        return rounded

    def members(self, group: str) -> NDArray[np.bool_] | None:
        """Per level, whether it belongs to the group (or is the level) of that name; None: there is neither."""
        chosen = (self.groups or {}).get(group) or ((group,) if group in self.levels else None)
        return np.isin(self.levels, chosen) if chosen else None


@cache
def _registry() -> Any:
    # Made on first use: half a second that only label work needs.
    return pint.UnitRegistry()


@cache
def is_unit(unit: str) -> bool:
    """Whether pint knows the unit."""
    if not _UNIT.fullmatch(unit):
        return False
    try:
        _registry().Quantity(1.0, unit)
    except (pint.UndefinedUnitError, pint.DefinitionSyntaxError, ValueError, TypeError, AttributeError):
        return False
    return True


@cache
def unit_factor(unit: str, canonical: str) -> float:
    """What a number in `unit` is multiplied with to be in the canonical unit.

    Raises:
        ValueError: one of both is unknown, or they differ in dimension.
    """
    for name in (unit, canonical):
        if not is_unit(name):
            raise ValueError(f"'{name}' is no unit")
    try:
        return float(_registry().Quantity(1.0, unit).to(canonical).magnitude)
    except pint.DimensionalityError:
        raise ValueError(f"'{unit}' cannot be converted to '{canonical}'") from None


def ratio_factor(above: str, below: str, canonical: str) -> float:
    """What a quotient of numbers in two units is multiplied with to be in the canonical unit.

    Raises:
        ValueError: a unit is unknown, or the quotient has another dimension.
    """
    for name in (above, below, canonical):
        if not is_unit(name):
            raise ValueError(f"'{name}' is no unit")
    try:
        quotient = _registry().Quantity(1.0, above) / _registry().Quantity(1.0, below)
        return float(quotient.to(canonical).magnitude)
    except pint.DimensionalityError:
        raise ValueError(f"'{above} / {below}' cannot be converted to '{canonical}'") from None
