"""CT and echo of one patient: the nearest resting examination inside the window that has the value."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from hyperct_pipeline.labels.intervals import Intervals, Reason, spanned
from hyperct_pipeline.labels.reading import Reading


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class LinkageConfig:
    """Which echo examination speaks for a CT."""

    window_days: tuple[int, int] = (-180, 180)  # echo minus CT, both ends included
    ties: Literal["earlier_echo", "later_echo"] = "earlier_echo"  # as many days before as after the CT
    report_at_days: tuple[int, ...] = (30, 90, 180, 365)  # the report counts studies with an echo within these

    def __post_init__(self) -> None:
        """Refuse a window that holds no day."""
        if self.window_days[0] > self.window_days[1]:
            raise ValueError(f"window_days {self.window_days} is empty: the first number must not be the larger one")


Gaps = Mapping[str, NDArray[np.float64]]
PAIRING_COLUMNS = ("source", "item", "within_days", "studies_with_value", "studies")


def pair(studies: pd.DataFrame, echo: Reading, config: LinkageConfig) -> tuple[dict[str, Intervals], Gaps]:
    """The values that count for each study, each quantity on its own.

    Several examinations on the chosen day that differ are spanned by one interval: a rule they agree on is decided,
    any other is unknown (`source_conflict`). The sex is taken from all examinations of the patient, which must agree.

    Args:
        studies: one row per study with patient_key and day (Int64, null = no date of the CT).
        echo: examinations with patient_key, day and excluded.
        config: window and ties.

    Returns:
        Quantity -> intervals, one per study, with reason `outside_window` where the value exists only outside the
        window, otherwise the most telling reason of the examinations inside it (`excluded` where only one that does
        not count, such as a stress echo, has the value); and quantity -> days from CT to
        echo, shape (n_studies,), NaN where there is no value.
    """
    pairs = _pairs(studies, echo.rows, config)
    barred = _pairs(studies, echo.rows.assign(excluded=~echo.rows["excluded"]), config)
    barred = barred[barred["inside"]]
    n = len(studies)
    values, gaps = {}, {}
    for name, intervals in echo.intervals.items():
        if name == "sex":
            values[name] = _of_patient(studies, echo.rows, intervals)
            gaps[name] = np.full(n, np.nan)
        else:
            nearest, gaps[name] = _nearest(pairs, intervals, n)
            only_barred = np.zeros(n, bool)
            only_barred[barred["study"][intervals.has_value[barred["exam"]]]] = True
            only_barred &= (nearest.reason == Reason.NOT_MEASURED) & ~nearest.has_value
            values[name] = nearest.because(only_barred, Reason.EXCLUDED)
    return values, gaps


def pairing_counts(studies: pd.DataFrame, echo: Reading, config: LinkageConfig) -> pd.DataFrame:
    """How many studies have a resting echo, and each of its values, within so many days; columns `PAIRING_COLUMNS`.

    The window of the labels is not heeded: the table shows what another window would give.
    """
    pairs = _pairs(studies, echo.rows, config)
    exams, study, distance = (pairs[name].to_numpy() for name in ("exam", "study", "distance"))
    rows = []
    for name in ("any examination", *(n for n in echo.intervals if n != "sex")):
        valued = np.ones(len(pairs), bool) if name == "any examination" else echo.intervals[name].has_value[exams]
        rows += [
            (echo.source, name, days, len(np.unique(study[valued & (distance <= days)])), len(studies))
            for days in config.report_at_days
        ]
    return pd.DataFrame(rows, columns=list(PAIRING_COLUMNS))


def _pairs(studies: pd.DataFrame, exams: pd.DataFrame, config: LinkageConfig) -> pd.DataFrame:
    """Every resting examination of each study's patient, nearest first: study, exam (row numbers), gap, inside."""
    left = studies[["patient_key", "day"]].assign(study=np.arange(len(studies))).dropna()
    right = exams[["patient_key", "day"]].assign(exam=np.arange(len(exams)))[~exams["excluded"]].dropna()
    pairs = left.merge(right, on="patient_key", suffixes=("_ct", "_echo"))
    gap = (pairs["day_echo"] - pairs["day_ct"]).astype("int64")
    first, last = config.window_days
    pairs = pairs[["study", "exam"]].assign(gap=gap, inside=gap.between(first, last), distance=gap.abs())
    later_first = config.ties == "later_echo"
    return pairs.sort_values(["study", "distance", "gap"], ascending=[True, True, not later_first], kind="stable")


def _nearest(pairs: pd.DataFrame, exams: Intervals, n: int) -> tuple[Intervals, NDArray[np.float64]]:
    of_pair = exams.take(pairs["exam"].to_numpy())
    inside = pairs["inside"].to_numpy(bool)
    usable = of_pair.has_value & inside
    result = _explained(pairs["study"].to_numpy(), of_pair, inside, n)
    gaps = np.full(n, np.nan)
    study, gap = pairs["study"].to_numpy()[usable], pairs["gap"].to_numpy()[usable]
    first = ~pd.Series(study).duplicated().to_numpy()
    gaps[study[first]] = gap[first]
    same_day = gap == gaps[study]
    chosen = spanned(of_pair.take(usable).take(same_day), study[same_day], n)
    return chosen.where(~np.isnan(gaps), result), gaps


def _explained(study: NDArray[Any], of_pair: Intervals, inside: NDArray[np.bool_], n: int) -> Intervals:
    """Per study why there is no value."""
    reason = np.full(n, Reason.NOT_MEASURED, np.int8)
    outside = of_pair.has_value & ~inside
    reason[study[outside]] = Reason.OUTSIDE_WINDOW
    silent = inside & ~of_pair.has_value
    np.maximum.at(reason, study[silent], of_pair.reason[silent])
    unknown = Intervals.unknown(n, Reason.NOT_MEASURED)
    return Intervals(unknown.low, unknown.high, unknown.low_open, unknown.high_open, reason)


def _of_patient(studies: pd.DataFrame, exams: pd.DataFrame, sex: Intervals) -> Intervals:
    """A level that all examinations of the patient which name one agree on."""
    known = sex.has_value
    ends = pd.DataFrame({"low": sex.low, "high": sex.high, "patient_key": exams["patient_key"].to_numpy()})
    by_patient = ends[known].groupby("patient_key").agg({"low": "min", "high": "max"})
    ends = by_patient.reindex(studies["patient_key"].to_numpy())
    low, high = ends["low"].to_numpy(np.float64), ends["high"].to_numpy(np.float64)
    closed = np.zeros(len(studies), bool)
    there = ~np.isnan(low)
    stated = Intervals(low, high, closed, closed, np.full(len(studies), Reason.MEASURED, np.int8))
    agreed = stated.because(there & (low != high), Reason.SOURCE_CONFLICT)
    return agreed.because(~there, Reason.NOT_MEASURED)
