"""The grammar of measurements as typed: "55-60%", ">60", "~45", "55 +/- 5", "mildly reduced (45%)", "62 mm"."""

import math
import re
from collections.abc import Callable, Mapping

from hyperct_pipeline.labels.quantities import Quantity, unit_factor
from hyperct_pipeline.labels.remarks import Remarks

# An "about 45" was read by eye; interobserver variation of such readings is no better than this.
APPROXIMATE_RELATIVE = 0.05
# Spellings in cells -> pint. Deliberately short: an unknown suffix makes the cell unknown, never a guess.
CELL_UNITS: Mapping[str, str] = {
    "%": "percent", "percent": "percent", "mmhg": "mmHg", "m/s": "m/s", "m/sec": "m/s", "cm/s": "cm/s",
    "cm/sec": "cm/s", "mm/s": "mm/s", "cm": "cm", "mm": "mm", "m": "m", "m2": "m**2", "m^2": "m**2", "mm2": "mm**2",
    "cm2": "cm**2", "ml": "mL", "cc": "mL", "l": "L", "dl": "dL", "ml/m2": "mL/m**2", "ml/m^2": "mL/m**2",
    "ml/m**2": "mL/m**2", "cc/m2": "mL/m**2",
}  # fmt: skip
# In a column of units, beside those above.
_DIMENSIONLESS = ("1", "ratio", "unitless", "dimensionless")
_NO_UNIT = ("", "nan", "none", "null", "na", "n/a", "<na>", ".", "-")
_REPLACED = str.maketrans(
    {
        "–": "-",
        "—": "-",
        "−": "-",
        "‑": "-",
        "‒": "-",
        "\u00a0": " ",
        "\u202f": " ",
        "％": "%",
        "\u200b": "",
        "\ufeff": "",
        "\u2009": " ",
    }
)
# A raised 2 belongs to a unit; behind a digit it is a footnote, and "45²" is no number.
_SQUARE = re.compile(r"(?<=[a-z])²")
_SYMBOLS = {"±": "+/-", "+-": "+/-", "+ / -": "+/-", "≤": "<=", "≥": ">=", "=<": "<=", "=>": ">=", "≈": "~"}
_BOUND_WORDS = {
    "less than": "<", "below": "<", "under": "<", "at most": "<=", "up to": "<=", "greater than": ">",
    "more than": ">", "above": ">", "over": ">", "at least": ">=",
}  # fmt: skip

_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?"
_UNIT = r"(?P<{}>%|[a-z](?:[a-z0-9/*^ ]*[a-z0-9])?)?"
_ONE = rf"(?P<a>{_NUMBER})\s*{_UNIT.format('u')}"
_TWO = rf"\s*(?P<b>{_NUMBER})\s*{_UNIT.format('v')}"
_BOUND = re.compile(rf"(?P<sign><=|>=|<|>|{'|'.join(_BOUND_WORDS)})\s*{_ONE}")
_POINT = re.compile(rf"(?P<minus>-?)\+?{_ONE}")
_RANGE = re.compile(rf"(?P<a>{_NUMBER})\s*(?P<u>%|[a-z][a-z0-9/*^ ]*?)?\s*(?:-|to){_TWO}")
_BETWEEN = re.compile(rf"between\s+(?P<a>{_NUMBER})\s*(?P<u>%|[a-z][a-z0-9/*^]*)?\s+and{_TWO}")
_PLUS_MINUS = re.compile(rf"{_ONE}\s*\+/-{_TWO}")
# whole words only: "cannot" and "established" are no estimates
_APPROXIMATELY = re.compile(
    r"(?:~|(?:approx(?:imately|\.)?|about|around|circa|ca\.?|est(?:imated|\.)?)(?![a-z]))\s*(?P<rest>.*)"
)
# "6.2 cm (62 mm)": the same thing in two units
_TWICE = re.compile(r"(?P<rest>[^()]*\d[^()]*?)\s*\((?P<again>[^()]*\d[^()]*)\)")
SAME_VALUE_RELATIVE = 1e-6

NO_REMARKS = Remarks()
Bounds = tuple[float, float, bool, bool]  # low, high, low_open, high_open
Scale = Callable[[str | None], float | None]  # unit of a cell -> factor to the canonical unit; None: does not fit


def normal_text(text: str, decimal_comma: bool = False) -> str:
    """Lower case, one kind of dash, blank and sign, so that one grammar reads all spellings."""
    text = _SQUARE.sub("2", " ".join(text.translate(_REPLACED).lower().split()))
    for written, symbol in _SYMBOLS.items():
        text = text.replace(written, symbol)
    if not decimal_comma:
        return text
    # where commas are decimal, "1.250" is a thousand and more, or it is not: it stays unread
    return re.sub(r"\d\.\d{3}(?!\d)", "?", text).replace(",", ".")


def plain(text: str) -> str:
    # A column of codes with gaps comes out of a spreadsheet as 1.0, 2.0.
    return re.sub(r"^(-?\d+)\.0+$", r"\1", normal_text(text))


def column_scale(quantity: Quantity, column_unit: str) -> Scale:
    def factor(cell_unit: str | None) -> float | None:
        unit = column_unit if cell_unit is None else CELL_UNITS.get(cell_unit.replace(" ", ""))
        if unit is None or quantity.unit is None:
            return None
        try:
            return unit_factor(unit, quantity.unit)
        except ValueError:
            return None

    return factor


def stated_unit(cell: str) -> str | None:
    """The unit in a cell of a column of units, as pint spells it; None where the cell states none.

    A spelling that is not known comes back as it is: no number fits it, so what it belongs to stays unread.
    """
    written = normal_text(cell)
    if written in _NO_UNIT:
        return None
    return "1" if written in _DIMENSIONLESS else CELL_UNITS.get(written.replace(" ", ""), f"?{written}")


def bounds_of(text: str, scale: Scale, remarks: Remarks = NO_REMARKS) -> Bounds | None:
    """The interval a text stands for, in canonical units; None where it is no number in any known form.

    Args:
        text: as `normal_text` gives it.
        scale: its units.
        remarks: words that may stand beside the number.
    """
    text = remarks.removed(text)
    for pattern, read in _FORMS:
        if match := pattern.fullmatch(text):
            return read(match, scale)
    return None


def _approximate(match: re.Match[str], scale: Scale) -> Bounds | None:
    inner = bounds_of(match["rest"], scale)
    return inner and (inner[0] * (1 - APPROXIMATE_RELATIVE), inner[1] * (1 + APPROXIMATE_RELATIVE), *inner[2:])


def _twice(match: re.Match[str], scale: Scale) -> Bounds | None:
    """Both texts name their unit and mean the same; a bare number in a bracket may be a footnote or a year."""

    def with_unit(unit: str | None) -> float | None:
        return None if unit is None else scale(unit)

    first, again = (bounds_of(match[part].strip(), with_unit) for part in ("rest", "again"))
    if first is None or again is None or first[2:] != again[2:]:
        return None
    same = all(math.isclose(a, b, rel_tol=SAME_VALUE_RELATIVE) for a, b in zip(first[:2], again[:2], strict=True))
    return first if same else None


def _one_sided(match: re.Match[str], scale: Scale) -> Bounds | None:
    factor = scale(match["u"])
    if factor is None:
        return None
    sign = _BOUND_WORDS.get(match["sign"], match["sign"])
    value, is_open = float(match["a"]) * factor, "=" not in sign
    return (-math.inf, value, False, is_open) if sign[0] == "<" else (value, math.inf, is_open, False)


def _plus_minus(match: re.Match[str], scale: Scale) -> Bounds | None:
    pair = _pair(match, scale)
    return pair and (pair[0] - pair[1], pair[0] + pair[1], False, False)


def _range(match: re.Match[str], scale: Scale) -> Bounds | None:
    pair = _pair(match, scale)
    return pair and (min(pair), max(pair), False, False)


def _point(match: re.Match[str], scale: Scale) -> Bounds | None:
    factor = scale(match["u"])
    if factor is None:
        return None
    value = float(match["a"]) * factor * (-1 if match["minus"] else 1)
    return value, value, False, False


def _pair(match: re.Match[str], scale: Scale) -> tuple[float, float] | None:
    # "4.5-5.2 cm": a unit that stands once counts for both
    first, second = scale(match["u"] or match["v"]), scale(match["v"] or match["u"])
    return None if first is None or second is None else (float(match["a"]) * first, float(match["b"]) * second)


# A range goes before a point, in whose unit "to 60" could hide.
_FORMS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], Scale], Bounds | None]], ...] = (
    (_TWICE, _twice), (_APPROXIMATELY, _approximate), (_BOUND, _one_sided),
    (_PLUS_MINUS, _plus_minus), (_BETWEEN, _range), (_RANGE, _range), (_POINT, _point),
)  # fmt: skip


def bare_scale(factor: float) -> Scale:
    return lambda cell_unit: None if cell_unit else factor
