"""What one table says, after its identifiers and dates have become pseudonyms."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from hyperct_pipeline.labels.intervals import Intervals, Reason
from hyperct_pipeline.labels.unmapped_words import all_words

logger = logging.getLogger(__name__)

Count = tuple[str, str, int]  # item, reason, count
UNUSABLE = (Reason.UNMAPPED_TEXT, Reason.OUT_OF_RANGE, Reason.ALIAS_CONFLICT, Reason.SOURCE_CONFLICT)
# Counts that are part of a normal table; everything else is warned of.
_ORDINARY = {("rows", "in"), ("rows", "repeated_study"), ("rows", "not_resting"), ("studies", "excluded")}
_HARMLESS = ("match_", "excluded_", "units_")
SUSPICION_COLUMNS = ("quantity", "column_unit", "likely_unit", "count")


def _no_suspicions() -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(dtype="str") for name in SUSPICION_COLUMNS})


@dataclass(frozen=True)
class Reading:
    """What one table says, pseudonymous.

    Attributes:
        source: its name in the configuration.
        rows: findings: one row per study: study_key (of the study's own name), accession_key, patient_key (each
            null where the source does not say), excluded, exclusion (why, "" where it is not), split (official or
            null). Echo: one row per examination: patient_key, day (Int64, null = no readable date), excluded (not a
            resting examination).
        intervals: quantity or finding -> its intervals, one per row.
        counts: what was met on the way, for the report.
        words: texts that stand for nothing known, as `all_words` gives them; what could name a person is masked.
        suspicions: implausible values that another unit would explain, columns `SUSPICION_COLUMNS`.
        similar_ids: key -> key of the id without leading zeros and blanks, to find ids that differ by those alone.
    """

    source: str
    rows: pd.DataFrame
    intervals: Mapping[str, Intervals]
    counts: tuple[Count, ...]
    words: pd.DataFrame = field(default_factory=lambda: all_words([]))
    suspicions: pd.DataFrame = field(default_factory=_no_suspicions)
    similar_ids: "pd.Series[str]" = field(default_factory=lambda: pd.Series(dtype="str"))


def unusable(values: Mapping[str, Intervals]) -> list[Count]:
    """How often there was content that could not be used, by quantity and reason."""
    return [
        (name, reason.text, count)
        for name, intervals in values.items()
        for reason in UNUSABLE
        if (count := int((intervals.reason == reason).sum()))
    ]


def warn_of(reading: Reading) -> None:
    """One warning per table that names what could not be used, with counts and without content."""
    told = [
        f"{item}: {count} {reason}"
        for item, reason, count in reading.counts
        if count and (item, reason) not in _ORDINARY and not reason.startswith(_HARMLESS)
    ]
    if not {c[:2]: c[2] for c in reading.counts}.get(("rows", "in"), 1):
        told.insert(0, "the table has a header and no rows")
    if told:
        logger.warning("Label source '%s', content that was not used: %s", reading.source, "; ".join(told))
