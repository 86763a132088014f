"""Kleene tables, every cardiac rule at its threshold, and: more knowledge never flips a label."""

from itertools import product

import numpy as np
import pytest

from hyperct_pipeline.labels.intervals import Intervals, Reason
from hyperct_pipeline.labels.rules import AllOf, AnyOf, BySex, Compare, FindingPresent, InGroup, Rule, Truth, evaluate
from hyperct_pipeline.labels.tasks import TaskCatalogue


def points(*values: float | None) -> Intervals:
    missing = (-np.inf, np.inf, False, False, Reason.NOT_MEASURED)
    return Intervals.from_rows([missing if v is None else (v, v, False, False, Reason.MEASURED) for v in values])


def three_valued(truth: Truth) -> list[bool | None]:
    return [True if t else False if f else None for t, f in zip(truth.true, truth.false, strict=True)]


def kleene_or(a: bool | None, b: bool | None) -> bool | None:
    if a or b:
        return True
    return None if a is None or b is None else False


def test_any_of_and_all_of_follow_kleene() -> None:
    pairs = list(product([True, False, None], repeat=2))
    numbers = {True: 1.0, False: 0.0, None: None}
    values = {name: points(*(numbers[p[k]] for p in pairs)) for k, name in enumerate("ab")}
    parts: tuple[Rule, ...] = (FindingPresent("a"), FindingPresent("b"))
    negated = {True: False, False: True, None: None}
    assert three_valued(evaluate(AnyOf(parts), values, 9)) == [kleene_or(*p) for p in pairs]
    assert three_valued(evaluate(AllOf(parts), values, 9)) == [
        negated[kleene_or(negated[a], negated[b])] for a, b in pairs
    ]


def test_policies_of_published_label_sets_count_missing_operands_as_negative() -> None:
    values = {"a": points(0, 0), "b": points(0, None), "c": points(None, None)}
    rule = AnyOf(tuple(FindingPresent(name) for name in "abc"))
    assert three_valued(evaluate(rule, values, 2)) == [None, None]
    assert three_valued(evaluate(rule, values, 2, "at_least_2_known")) == [False, None]
    assert three_valued(evaluate(rule, values, 2, "observed_only")) == [False, False]


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        # values: 4.9, 5, 5.1, [4, 6], > 5, < 5, >= 5, <= 5
        ("<", [True, False, False, None, False, True, False, None]),
        ("<=", [True, True, False, None, False, True, None, True]),
        (">", [False, False, True, None, True, False, None, False]),
        (">=", [False, True, True, None, True, False, True, None]),
    ],
)
def test_comparison_with_five(operator: str, expected: list[bool | None]) -> None:
    inf = np.inf
    bounds = [
        (4.9, 4.9, False, False), (5, 5, False, False), (5.1, 5.1, False, False), (4, 6, False, False),
        (5, inf, True, False), (-inf, 5, False, True), (5, inf, False, False), (-inf, 5, False, False),
    ]  # fmt: skip
    values = {"x": Intervals.from_rows([(*b, Reason.MEASURED) for b in bounds])}
    truth = evaluate(Compare("x", operator, 5.0), values, len(bounds))  # type: ignore[arg-type]
    assert three_valued(truth) == expected
    assert [Reason(r) for r, e in zip(truth.reason, expected, strict=True) if e is None] == [
        Reason.RANGE_STRADDLES
    ] * expected.count(None)


def test_grades_in_a_group() -> None:
    values = {
        "grade": Intervals.from_rows([(a, b, False, False, Reason.MEASURED) for a, b in [(3, 5), (0, 2), (2, 3)]])
    }
    assert three_valued(evaluate(InGroup("grade", frozenset({3, 4, 5})), values, 3)) == [True, False, None]


def test_unknown_sex_is_labelled_only_where_both_branches_agree() -> None:
    values = {"x": points(4.5, 5.5, 6.5, 5.5, 5.5), "sex": points(None, None, None, 0, 1)}
    truth = evaluate(BySex(Compare("x", ">", 5.3), Compare("x", ">", 5.9)), values, 5)
    assert three_valued(truth) == [False, None, True, True, False]
    assert Reason(truth.reason[1]) is Reason.NOT_MEASURED


@pytest.mark.parametrize(
    ("task", "quantity", "below", "at", "above", "labels"),
    [
        ("reduced_lv_systolic_function", "lvef", 49.9, 50, 50.1, (1, 0, 0)),
        ("pulmonary_hypertension", "pasp", 34.9, 35, 35.1, (0, 0, 1)),
        ("atrial_chamber_enlargement", "la_volume_index", 34.9, 35, 35.1, (0, 0, 1)),
        ("right_atrial_filling_pressure", "tr_vmax", 3.39, 3.4, 3.41, (0, 0, 1)),
        ("reduced_rv_systolic_function", "rv_function", 2, 3, 4, (0, 1, 1)),
    ],
)
def test_rule_below_at_and_above_its_threshold(
    catalogue: TaskCatalogue, task: str, quantity: str, below: float, at: float, above: float, labels: tuple
) -> None:
    rule = next(t.rule for t in catalogue.tasks if t.id == task)
    truth = evaluate(rule, {quantity: points(below, at, above, None)}, 4)
    assert three_valued(truth) == [*(label == 1 for label in labels), None]
    assert Reason(truth.reason[3]) is Reason.NOT_MEASURED


@pytest.mark.parametrize(
    ("task", "values", "labels"),
    [
        # below, at, above and missing, with everything else that the rule needs
        ("reduced_lv_systolic_function", {"lvef": (53.9, 54, 54.1, None), "sex": (0,) * 4}, (1, 0, 0, None)),
        ("reduced_lv_systolic_function", {"lvef": (51.9, 52, 52.1, None), "sex": (1,) * 4}, (1, 0, 0, None)),
        ("reduced_lv_systolic_function", {"lvef": (51.9, 52, 54, None), "sex": (None,) * 4}, (1, None, 0, None)),
        ("pulmonary_hypertension", {"tr_vmax": (2.79, 2.8, 2.81, None)}, (0, 0, 1, None)),
        ("atrial_chamber_enlargement", {"la_volume_index": (33.9, 34, 34.1, None)}, (0, 0, 1, None)),
        ("ventricular_enlargement", {"lvidd": (5.19, 5.2, 5.21, None), "sex": (0,) * 4}, (0, 0, 1, None)),
        ("ventricular_enlargement", {"lvidd": (5.79, 5.8, 5.81, None), "sex": (1,) * 4}, (0, 0, 1, None)),
        ("reduced_rv_systolic_function", {"rv_function": (2, 3, 4, None)}, (0, 1, 1, None)),
        ("left_atrial_filling_pressure",
         {"e_a_ratio": (1.99, 2, 2.01, None), "la_volume_index": (30,) * 4, "tr_vmax": (2.5,) * 4}, (0, 1, 1, None)),
        ("left_atrial_filling_pressure",
         {"e_a_ratio": (1,) * 4, "la_volume_index": (34, 34.1, 34.1, 34.1), "tr_vmax": (2.9, 2.8, 2.81, None)},
         (0, 0, 1, None)),
        ("right_atrial_filling_pressure",
         {"ivc_diameter": (2.1, 2.11, 2.11, None), "ivc_collapse": (30, 50, 49, 30)}, (0, 0, 1, None)),
    ],
)  # fmt: skip
def test_guideline_set_at_its_thresholds(catalogue: TaskCatalogue, task: str, values: dict, labels: tuple) -> None:
    rule = next(t.rule for t in catalogue.under("ase_2025").tasks if t.id == task)
    truth = evaluate(rule, {name: points(*numbers) for name, numbers in values.items()}, 4)
    assert three_valued(truth) == [None if label is None else bool(label) for label in labels]


@pytest.mark.parametrize(("sex", "at"), [(0, 5.3), (1, 5.9)])
def test_ventricular_enlargement_by_sex(catalogue: TaskCatalogue, sex: float, at: float) -> None:
    rule = next(t.rule for t in catalogue.tasks if t.id == "ventricular_enlargement")
    values = {"lvidd": points(at - 0.01, at, at + 0.01, None), "sex": points(sex, sex, sex, sex)}
    assert three_valued(evaluate(rule, values, 4)) == [False, False, True, None]


@pytest.mark.parametrize(
    ("quantity", "below", "at", "above", "at_is_positive"),
    [
        ("e_a_ratio", 1.99, 2, 2.01, True),
        ("la_volume_index", 34.9, 35, 35.1, False),
        ("tr_vmax", 2.79, 2.8, 2.81, False),
    ],
)
def test_left_atrial_filling_pressure_by_each_criterion(
    catalogue: TaskCatalogue, quantity: str, below: float, at: float, above: float, at_is_positive: bool
) -> None:
    rule = next(t.rule for t in catalogue.tasks if t.id == "left_atrial_filling_pressure")
    values = {"e_a_ratio": points(*[1.0] * 4), "la_volume_index": points(*[20.0] * 4), "tr_vmax": points(*[2.0] * 4)}
    values[quantity] = points(below, at, above, None)
    assert three_valued(evaluate(rule, values, 4)) == [False, at_is_positive, True, None]


def test_findings_present_absent_missing(catalogue: TaskCatalogue) -> None:
    for task in catalogue.tasks:
        if task.group == "radiological":
            assert three_valued(evaluate(task.rule, {task.id: points(1, 0, None)}, 3)) == [True, False, None]


def test_absent_quantity_is_not_available(catalogue: TaskCatalogue) -> None:
    truth = evaluate(catalogue.tasks[0].rule, {}, 1)
    assert Reason(truth.reason[0]) is Reason.NOT_AVAILABLE_IN_SOURCE


def test_refining_an_interval_never_flips_a_known_label(catalogue: TaskCatalogue) -> None:
    generator = np.random.default_rng(0)
    n = 5000
    wide, narrow = {}, {}
    for name, quantity in catalogue.quantities.items():
        top = 1.5 * max(quantity.valid) if quantity.valid else len(quantity.levels) - 1
        ends = np.sort(generator.uniform(0, top, (4, n)), axis=0)
        ends = quantity.rounded(ends) if quantity.valid else np.round(ends)
        opened = generator.random((2, n)) < 0.5
        unbounded = generator.random((2, n)) < 0.3 if quantity.valid else np.zeros((2, n), bool)
        reason = np.full(n, Reason.MEASURED, np.int8)
        wide[name] = Intervals(
            np.where(unbounded[0], -np.inf, ends[0]), np.where(unbounded[1], np.inf, ends[3]),
            opened[0] & (ends[0] < ends[1]), opened[1] & (ends[2] < ends[3]), reason,
        )  # fmt: skip
        narrow[name] = Intervals(ends[1], ends[2], np.zeros(n, bool), np.zeros(n, bool), reason)
    known = 0
    for task in catalogue.tasks:
        before, after = evaluate(task.rule, wide, n), evaluate(task.rule, narrow, n)
        assert not (before.true & before.false).any()
        assert (after.true | ~before.true).all()
        assert (after.false | ~before.false).all()
        known += int(before.known.sum())
    assert known > n
