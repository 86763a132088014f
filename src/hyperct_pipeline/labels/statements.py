"""What each source says about each study, on one common list of studies."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hyperct_pipeline.labels.agreement import agreed_sex, sex_conflicts
from hyperct_pipeline.labels.harmonization import Observed
from hyperct_pipeline.labels.intervals import Intervals, Reason
from hyperct_pipeline.labels.pairing import LinkageConfig, pair
from hyperct_pipeline.labels.reading import Reading
from hyperct_pipeline.labels.source_formats import EchoLong, EchoWide
from hyperct_pipeline.labels.sources import LabelSourcesConfig

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Statement:
    """What one source says: about which studies (bool, shape (n,)), and what; n studies, the same for all sources."""

    reading: Reading
    precedence: int
    said: NDArray[np.bool_]
    observed: Observed


def is_echo(source: str, sources: LabelSourcesConfig) -> bool:
    """Whether the source's table is one of echo examinations."""
    return isinstance(sources.of(source), EchoWide | EchoLong)


def statements(
    studies: pd.DataFrame,
    readings: Sequence[Reading],
    matches: Sequence[NDArray[np.intp]],
    sources: LabelSourcesConfig,
    linkage: LinkageConfig,
    paired: bool,
) -> tuple[pd.DataFrame, list[Statement]]:
    """The studies with the agreed sex, and what each source says of them.

    Args:
        studies: study_key, patient_key, day, sex, cohort_sex.
        readings: of all sources.
        matches: per reading the row of the reading for every study, -1 where it says nothing; of an echo source only
            where it is not paired.
        sources: formats.
        linkage: which echo speaks for a CT.
        paired: echoes speak for CTs; otherwise each examination is a study itself.
    """
    n = len(studies)
    nothing = np.zeros(n, bool)
    stated: dict[str, Observed] = {}
    said: dict[str, NDArray[np.bool_]] = {}
    for reading, row in zip(readings, matches, strict=True):
        if is_echo(reading.source, sources) and paired:
            values, gaps = pair(studies, reading, linkage)
            said[reading.source] = studies["patient_key"].isin(reading.rows["patient_key"]).to_numpy(bool)
            stated[reading.source] = Observed(studies["study_key"], values, gaps, nothing)
        else:
            aligned = {name: _aligned(intervals, row) for name, intervals in reading.intervals.items()}
            said[reading.source] = row >= 0
            stated[reading.source] = Observed(studies["study_key"], aligned, {}, nothing)
    named = [s for o in stated.values() if "sex" in o.intervals for s in _sex_names(o.intervals["sex"])]
    said_sex = (studies["cohort_sex"], *named, studies["sex"])
    contradicted = sex_conflicts(*said_sex)
    if contradicted.any():
        logger.warning("The sex of %d studies is contradicted, and taken as unknown", contradicted.sum())
    studies = studies.assign(sex=agreed_sex(*said_sex))
    sex = _sex_levels(studies["sex"]).because(contradicted, Reason.SOURCE_CONFLICT)
    return studies, [
        Statement(
            reading,
            sources.of(reading.source).precedence,
            said[reading.source],
            replace(stated[reading.source], intervals={**stated[reading.source].intervals, "sex": sex}),
        )
        for reading in readings
    ]


def _aligned(intervals: Intervals, row: NDArray[np.intp]) -> Intervals:
    """Intervals per study; row: the reading's row for each study, -1 = none."""
    if not len(intervals):
        return Intervals.unknown(len(row), Reason.NOT_MEASURED)
    return intervals.take(np.maximum(row, 0)).because(row < 0, Reason.NOT_MEASURED)


def _sex_names(sex: Intervals) -> tuple["pd.Series[str]", "pd.Series[str]"]:
    """F, M or null twice: the two columns differ where the examinations of a patient contradict each other."""
    name = pd.Series(sex.low).where(sex.low == sex.high).map({0.0: "F", 1.0: "M"}).astype("str")
    conflict = pd.Series(sex.reason == Reason.SOURCE_CONFLICT)
    return name.mask(conflict, "F"), name.mask(conflict, "M")


def _sex_levels(sex: "pd.Series[str]") -> Intervals:
    known = sex.notna().to_numpy()
    level = (sex == "M").to_numpy(bool).astype(np.float64)
    closed = np.zeros(len(sex), bool)
    stated = Intervals(level, level, closed, closed, np.full(len(sex), Reason.MEASURED, np.int8))
    return stated.because(~known, Reason.NOT_MEASURED)
