"""Rules as people write them in YAML, turned into rule trees. No Python, no eval: five forms and nothing else."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from hyperct_pipeline.labels.quantities import Quantity, unit_factor
from hyperct_pipeline.labels.rules import AllOf, AnyOf, BySex, Compare, FindingPresent, InGroup, Operator, Rule
from hyperct_pipeline.labels.spelling import nearest

FORMS = "'name op number unit', 'name in group', 'finding present', any_of, all_of, by: sex"
_COMPARISON = re.compile(r"^(\w+)\s*(<=|>=|<|>)\s*(\d+(?:\.\d+)?)\s*(.*)$")
_MEMBERSHIP = re.compile(r"^(\w+)\s+in\s+(\w+)$")
SEXES = ("F", "M")


def parse_rule(written: str | Mapping[str, Any], task_id: str, quantities: Mapping[str, Quantity]) -> Rule:
    """Turn the `positive_when` entry of a task into a rule.

    Args:
        written: the text or mapping of the YAML file.
        task_id: names the finding in "finding present".
        quantities: the catalogue's quantities by name.

    Raises:
        ValueError: what is wrong with it, naming the quantity, unit or group.
    """
    if isinstance(written, str):
        return _parse_text(written.strip(), task_id, quantities)
    keys = set(written)
    if keys == {"by", *SEXES} and written["by"] == "sex":
        female, male = (parse_rule(written[sex], task_id, quantities) for sex in SEXES)
        _sex_quantity(quantities)
        return BySex(female, male)
    if "by" in keys:
        raise ValueError(_by_problem(written))
    if keys in ({"any_of"}, {"all_of"}):
        (form, parts), *_ = written.items()
        if not isinstance(parts, Sequence) or isinstance(parts, str) or not parts:
            raise ValueError(f"{form} needs a list of rules")
        rules = tuple(parse_rule(part, task_id, quantities) for part in parts)
        return AnyOf(rules) if form == "any_of" else AllOf(rules)
    raise ValueError(f"a rule is one of {FORMS}; found the keys {sorted(keys)}")


def _by_problem(written: Mapping[str, Any]) -> str:
    if written["by"] != "sex":
        return f"by: '{written['by']}' is unknown; rules can differ by sex alone"
    missing = [sex for sex in SEXES if sex not in written]
    further = sorted(str(key) for key in set(written) - {"by", *SEXES})
    said = [f"{', '.join(missing)} is missing"] if missing else []
    return (
        f"by: sex needs a rule under F and one under M; {'; '.join([*said, *(f'{k!r} is neither' for k in further)])}"
    )


def rule_words(rule: Rule, quantities: Mapping[str, Quantity]) -> str:
    """A rule as one line, in canonical units, for people to read."""
    match rule:
        case FindingPresent():
            return "finding present"
        case Compare(name, operator, threshold):
            unit = quantities[name].unit or ""
            return f"{name} {operator} {threshold:g}{'' if unit == '1' else f' {unit}'}"
        case InGroup(name, levels):
            return f"{name} in {', '.join(quantities[name].levels[level] for level in sorted(levels))}"
        case AnyOf(parts) | AllOf(parts):
            joint = " or " if isinstance(rule, AnyOf) else " and "
            return joint.join(
                f"({rule_words(p, quantities)})" if isinstance(p, AnyOf | AllOf) else rule_words(p, quantities)
                for p in parts
            )
    return f"women: {rule_words(rule.female, quantities)}; men: {rule_words(rule.male, quantities)}"


def _parse_text(text: str, task_id: str, quantities: Mapping[str, Quantity]) -> Rule:
    if text == "finding present":
        return FindingPresent(task_id)
    if match := _MEMBERSHIP.match(text):
        return _membership(match.group(1), match.group(2), quantities)
    if match := _COMPARISON.match(text):
        name, operator, number, unit = match.groups()
        return Compare(name, cast(Operator, operator), _threshold(name, number, unit, quantities))
    raise ValueError(f"a rule is one of {FORMS}; found '{text}'")


def _membership(name: str, group: str, quantities: Mapping[str, Quantity]) -> InGroup:
    quantity = _known(name, quantities)
    members = quantity.members(group)
    if members is None:
        groups = [*(quantity.groups or {}), *quantity.levels]
        raise ValueError(f"'{name}' has no group or level '{group}'; it has {', '.join(groups) or 'none'}")
    return InGroup(name, frozenset(np.flatnonzero(members).tolist()))


def _threshold(name: str, number: str, unit: str, quantities: Mapping[str, Quantity]) -> float:
    quantity = _known(name, quantities)
    if quantity.kind != "number" or quantity.unit is None:
        raise ValueError(f"'{name}' is a {quantity.kind} without a number; write '{name} in <group>'")
    if not unit and quantity.unit != "1":
        raise ValueError(f"'{name}' has the unit {quantity.unit}: write it, e.g. '{number} {quantity.unit}'")
    # rounding at nine significant digits takes the float noise of the conversion, never a digit of the rule
    threshold = float(f"{float(number) * unit_factor(unit or '1', quantity.unit):.9g}")
    if quantity.valid and not quantity.valid[0] <= threshold <= quantity.valid[1]:
        raise ValueError(
            f"{number} {unit} is outside the plausible range of '{name}' "
            f"({quantity.valid[0]:g} to {quantity.valid[1]:g} {quantity.unit}), so the rule could never decide"
        )
    return threshold


def _known(name: str, quantities: Mapping[str, Quantity]) -> Quantity:
    if name not in quantities:
        raise ValueError(f"unknown quantity '{name}'{nearest(name, tuple(quantities))}")
    return quantities[name]


def _sex_quantity(quantities: Mapping[str, Quantity]) -> None:
    if "sex" not in quantities or quantities["sex"].levels != SEXES:
        raise ValueError(f"by: sex needs the quantity 'sex' with the levels {list(SEXES)}")
