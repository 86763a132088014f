import numpy as np
import pandas as pd
import pytest

from hyperct_pipeline.labels.intervals import Intervals, Reason
from hyperct_pipeline.labels.pairing import LinkageConfig, pair
from hyperct_pipeline.labels.reading import Reading

Exam = tuple[str, int | None, float | None]  # patient, day, LVEF


def paired(exams: list[Exam], config: LinkageConfig | None = None, excluded: list[bool] | None = None):
    """LVEF, gap and reason for one CT of patient p on day 1000."""
    studies = pd.DataFrame({"patient_key": ["p"], "day": pd.array([1000], dtype="Int64")})
    lvef = Intervals.from_rows(
        [(-np.inf, np.inf, False, False, Reason.NOT_MEASURED) if v is None else (v, v, False, False, Reason.MEASURED)
         for _, _, v in exams]
    )  # fmt: skip
    rows = pd.DataFrame(
        {
            "patient_key": [patient for patient, _, _ in exams],
            "day": pd.array([day for _, day, _ in exams], dtype="Int64"),
            "excluded": excluded or [False] * len(exams),
        }
    )
    intervals, gaps = pair(studies, Reading("s", rows, {"lvef": lvef}, ()), config or LinkageConfig())
    value = intervals["lvef"]
    return value.low[0], value.high[0], gaps["lvef"][0], Reason(value.reason[0])


@pytest.mark.parametrize(("day", "inside"), [(820, True), (819, False), (1180, True), (1181, False), (1000, True)])
def test_window_includes_both_ends(day: int, inside: bool) -> None:
    low, _, gap, reason = paired([("p", day, 40.0)])
    if inside:
        assert (low, gap, reason) == (40, day - 1000, Reason.MEASURED)
    else:
        assert reason is Reason.OUTSIDE_WINDOW
        assert np.isnan(gap)


def test_nearest_with_a_value_counts() -> None:
    assert paired([("p", 1001, None), ("p", 1030, 35.0), ("p", 900, 60.0), ("q", 1000, 20.0)])[:3] == (35, 35, 30)


@pytest.mark.parametrize(("ties", "expected"), [("earlier_echo", (40, -10)), ("later_echo", (60, 10))])
def test_ties(ties: str, expected: tuple[float, float]) -> None:
    low, _, gap, _ = paired([("p", 1010, 60.0), ("p", 990, 40.0)], LinkageConfig(ties=ties))  # type: ignore[arg-type]
    assert (low, gap) == expected


def test_examinations_that_do_not_rest_are_passed_over() -> None:
    assert paired([("p", 1001, 60.0), ("p", 1020, 35.0)], excluded=[True, False])[0] == 35


def test_same_day_conflict_spans_the_values() -> None:
    exams: list[Exam] = [("p", 1005, 60.0), ("p", 1005, 40.0), ("p", 1005, 50.0), ("p", 1006, 20.0)]
    assert paired(exams) == (40, 60, 5, Reason.SOURCE_CONFLICT)
    assert paired([("p", 1005, 60.0), ("p", 1005, 60.0)])[3] is Reason.MEASURED


def test_no_examination_or_no_date_is_not_measured() -> None:
    assert paired([("q", 1000, 40.0)])[3] is Reason.NOT_MEASURED
    assert paired([("p", None, 40.0)])[3] is Reason.NOT_MEASURED


def test_nearest_by_brute_force() -> None:
    generator = np.random.default_rng(3)
    days = generator.choice(np.arange(700, 1300), 40, replace=False)
    values = np.where(generator.random(40) < 0.3, np.nan, generator.uniform(20, 70, 40))
    exams: list[Exam] = [("p", int(d), None if np.isnan(v) else float(v)) for d, v in zip(days, values, strict=True)]
    usable = [(abs(d - 1000), d, v) for _, d, v in exams if d is not None and v is not None and abs(d - 1000) <= 180]
    _, day, value = min(usable)
    assert paired(exams)[:3] == (value, value, day - 1000)


def test_empty_window_is_refused() -> None:
    with pytest.raises(ValueError, match="window_days"):
        LinkageConfig(window_days=(10, -10))


@pytest.mark.parametrize(
    ("exams", "excluded", "reason"),
    [
        ([("p", 1001, 40.0)], [True], Reason.EXCLUDED),
        ([("p", 1001, None)], [True], Reason.NOT_MEASURED),
        ([("p", 1400, 40.0)], [True], Reason.NOT_MEASURED),
        ([("p", 1001, 40.0), ("p", 1400, 40.0)], [True, False], Reason.OUTSIDE_WINDOW),
        ([("p", 1001, 40.0), ("p", 1002, None)], [True, False], Reason.EXCLUDED),
        ([("p", 1001, 40.0), ("p", 1002, 60.0)], [True, False], Reason.MEASURED),
        ([("q", 1001, 40.0)], [True], Reason.NOT_MEASURED),
    ],
)
def test_a_value_of_an_examination_that_does_not_count_is_excluded(
    exams: list[Exam], excluded: list[bool], reason: Reason
) -> None:
    assert paired(exams, excluded=excluded)[3] is reason
