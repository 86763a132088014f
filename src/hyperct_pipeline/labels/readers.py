"""Raw tables to pseudonymous rows with intervals. Identifiers and dates of the hospital end here."""

import datetime
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hyperct_pipeline.labels.intervals import Intervals, Reason, agree
from hyperct_pipeline.labels.measurements import read_levels, read_numbers
from hyperct_pipeline.labels.quantities import Quantity
from hyperct_pipeline.labels.sources import ColumnConfig, EchoIdConfig, EchoWide, FindingsWide
from hyperct_pipeline.labels.tables import as_text, finding_name, needed_column, present_columns
from hyperct_pipeline.labels.tasks import Ratio, TaskCatalogue
from hyperct_pipeline.pseudonyms import Pseudonyms

logger = logging.getLogger(__name__)

# Single dates are mistyped; when most cannot be read, it is the format that is wrong.
UNREADABLE_DATES_SHARE = 0.5
_EPOCH = datetime.date(1970, 1, 1)
Count = tuple[str, str, int]  # item, reason, count


@dataclass(frozen=True)
class Reading:
    """What one table says, pseudonymous.

    Attributes:
        source: its name in the configuration.
        rows: findings: one row per study: study_key (of the study's own name), accession_key, patient_key (each
            null where the source does not say), excluded. Echo: one row per examination: patient_key, day (Int64,
            null = no readable date), excluded (not a resting examination).
        intervals: quantity or finding -> its intervals, one per row.
        counts: what was met on the way, for the report.
    """

    source: str
    rows: pd.DataFrame
    intervals: Mapping[str, Intervals]
    counts: tuple[Count, ...]


def read_findings(
    source: str,
    table: pd.DataFrame,
    config: FindingsWide,
    catalogue: TaskCatalogue,
    pseudonyms: Pseudonyms,
    excluded: "pd.Series[str] | None" = None,
    need_ids: bool = True,
) -> Reading:
    """One row per study; reconstructions and doubled rows must agree, else unknown (`source_conflict`).

    Args:
        source: its name.
        table: one row per study or reconstruction.
        config: how the table is written.
        catalogue: which findings are wanted.
        pseudonyms: turn ids into keys.
        excluded: ids (same form) of studies whose labels do not count.
        need_ids: an id column that is absent is an error; otherwise rows are numbered.

    Raises:
        LabelTableError: a needed column is missing, renamed or doubled.
    """
    text = as_text(table, source)
    if need_ids or config.id.column in text.columns:
        ids = _study_ids(needed_column(text, source, config.id.column), config.id.pattern)
    else:
        ids = pd.DataFrame({"study": [str(k) for k in range(1, len(text) + 1)], "patient": ""})
    columns = _finding_columns(text, source, config, catalogue)
    named = ids["study"].ne("").to_numpy()
    # by key, not by text: spellings that differ by case alone are one study
    codes, studies = pd.factorize(hashed(ids["study"][named], pseudonyms.study_key))
    out = np.zeros(len(studies), bool)
    if excluded is not None:
        listed = _study_ids(excluded.str.strip(), config.id.pattern)["study"]
        out = np.asarray(studies.isin(hashed(listed, pseudonyms.study_key).dropna()), bool)
    values = {
        finding: _finding(text.loc[named, names], codes, len(studies), config).because(out, Reason.EXCLUDED)
        for finding, names in columns.items()
    }
    first = ids[named].groupby(codes).first()
    counts = [
        ("rows", "in", len(text)), ("rows", "id_unreadable", int((~named).sum())),
        ("rows", "repeated_study", int(named.sum()) - len(studies)), ("studies", "excluded", int(out.sum())),
    ]  # fmt: skip
    rows = _study_rows(first, config, pseudonyms).assign(excluded=out)
    return Reading(source, rows, values, (*counts, *_unusable(values)))


def read_echo(
    source: str,
    table: pd.DataFrame,
    config: EchoWide,
    catalogue: TaskCatalogue,
    pseudonyms: Pseudonyms,
    need_ids: bool = True,
) -> Reading:
    """One row per examination that names a patient; arguments as for `read_findings`.

    Raises:
        LabelTableError: a needed column is missing, renamed or doubled.
    """
    text = as_text(table, source)
    id_columns = (config.id.patient, *config.id.date, config.id.study_type)
    wanted = {name: column.names for name, column in config.columns.items()}
    found = present_columns(text, source, wanted, id_columns)
    keys = patient_days(text, source, config.id, pseudonyms, need_ids, config.issuer)
    named = keys["patient_key"].notna().to_numpy()
    excluded = np.zeros(len(text), bool)
    if config.id.study_type in text.columns:
        excluded = ~text[config.id.study_type].str.lower().isin(config.use_study_types).to_numpy()
    values = {
        name: _quantity(text.loc[named, columns], catalogue.quantities[name], config.columns[name], config)
        for name, columns in found.items()
    }
    undated = int((keys["day"].isna() & named).sum()) if _date_column(text, config.id) else 0
    if undated > UNREADABLE_DATES_SHARE * named.sum():
        logger.warning(
            "Label source '%s': %d of %d dates are unreadable as '%s', and an echo without a date is paired with no "
            "CT; check id.date_format (parameters_sources.yml)", source, undated, named.sum(), config.id.date_format,
        )  # fmt: skip
    counts = [
        ("rows", "in", len(text)), ("rows", "id_blank", int((~named).sum())), ("rows", "date_unreadable", undated),
        ("rows", "not_resting", int(excluded.sum())),
    ]  # fmt: skip
    rows = keys.assign(excluded=excluded)[named].reset_index(drop=True)
    return Reading(source, rows, _derived(values, catalogue), (*counts, *_unusable(values)))


def patient_days(
    text: pd.DataFrame, name: str, ids: EchoIdConfig, pseudonyms: Pseudonyms, need_ids: bool, issuer: str = ""
) -> pd.DataFrame:
    """patient_key (null where blank) and day (Int64, null where unreadable), one row per row of the table."""
    if need_ids or ids.patient in text.columns:
        patient = hashed(needed_column(text, name, ids.patient), partial(pseudonyms.patient_key, issuer=issuer))
    else:
        patient = pd.Series([str(k) for k in range(1, len(text) + 1)], dtype="str")
    date = _date_column(text, ids)
    if date is None and not need_ids:
        return pd.DataFrame({"patient_key": patient, "day": pd.array([None] * len(text), dtype="Int64")})
    dates = pd.to_datetime(needed_column(text, name, date or ids.date[0]), format=ids.date_format, errors="coerce")
    since_epoch = ((dates - pd.Timestamp(_EPOCH)) // pd.Timedelta(days=1)).astype("Int64")
    # the keyed day is linear in the date: one hash per patient is enough
    codes, unique = pd.factorize(patient)
    shift = np.array([pseudonyms.day(str(key), _EPOCH) for key in unique] + [0])[codes]
    return pd.DataFrame({"patient_key": patient, "day": (since_epoch + shift).astype("Int64")})


def hashed(texts: "pd.Series[str]", key: Callable[[str], str]) -> "pd.Series[str]":
    """Each text as its key, null where blank; every distinct text is hashed once."""
    codes, unique = pd.factorize(texts.str.strip())
    keys = pd.array([key(str(text)) if text else None for text in unique], dtype="str")
    return pd.Series(keys.take(np.asarray(codes)), index=texts.index, dtype="str")


def _date_column(text: pd.DataFrame, ids: EchoIdConfig) -> str | None:
    return next((column for column in ids.date if column in text.columns), None)


def _study_ids(names: "pd.Series[str]", pattern: str | None) -> pd.DataFrame:
    """Columns study and patient, "" where the name does not have the expected form or says nothing."""
    if pattern is None:
        return pd.DataFrame({"study": names, "patient": ""})
    parts = names.str.extract(re.compile(pattern))
    return parts.reindex(columns=["study", "patient"]).fillna("").astype("str")


def _study_rows(ids: pd.DataFrame, config: FindingsWide, pseudonyms: Pseudonyms) -> pd.DataFrame:
    accession = pd.Series(pd.NA, index=ids.index, dtype="str")
    if config.id.type == "accession_number":
        accession = hashed(ids["study"], pseudonyms.accession_key)
    return pd.DataFrame(
        {
            # of an accession number too: its name stands in until the archive gives the StudyInstanceUID
            "study_key": hashed(ids["study"], pseudonyms.study_key),
            "accession_key": accession,
            "patient_key": hashed(ids["patient"], partial(pseudonyms.patient_key, issuer=config.issuer)),
        }
    )


def _finding_columns(
    text: pd.DataFrame, source: str, config: FindingsWide, catalogue: TaskCatalogue
) -> dict[str, list[str]]:
    """Finding -> every column that names it."""
    mapped = {c: finding_name(c) for c in text.columns} if config.columns == "auto" else config.columns
    wanted = {finding: [c for c, f in mapped.items() if f == finding] or [finding] for finding in catalogue.findings}
    if not wanted:
        return {}
    return present_columns(text, source, wanted, [config.id.column, *(mapped if config.columns != "auto" else ())])


def _finding(cells: pd.DataFrame, codes: NDArray[np.intp], n: int, config: FindingsWide) -> Intervals:
    """One finding, of which all columns that name it must agree."""
    read = [_findings(cells[name], codes, n, config) for name in cells.columns]
    # a study whose rows contradict each other in one column is not decided by another column
    contradicted = np.any([one.reason == Reason.SOURCE_CONFLICT for one in read], axis=0)
    return _agreed(read, 0.0).because(contradicted, Reason.SOURCE_CONFLICT)


def _agreed(columns: Sequence[Intervals], tolerance: float) -> Intervals:
    """What several columns say of one thing; two that contradict each other are not outvoted by a third."""
    merged, conflict = columns[0], np.zeros(len(columns[0]), bool)
    for column in columns[1:]:
        merged = agree(merged, column, tolerance, Reason.ALIAS_CONFLICT)
        conflict |= merged.reason == Reason.ALIAS_CONFLICT
    return merged.because(conflict, Reason.ALIAS_CONFLICT)


def _findings(cells: "pd.Series[str]", codes: NDArray[np.intp], n: int, config: FindingsWide) -> Intervals:
    """Present, absent or unknown per study; codes: number of the study, per row."""
    word = cells.str.lower().str.replace(r"^(-?\d+)\.0+$", r"\1", regex=True)
    present, absent = word.isin(config.present).to_numpy(), word.isin(config.absent).to_numpy()
    strange = ~(present | absent | word.isin(config.unknown).to_numpy())
    said_present, said_absent, said_strange = (np.zeros(n, bool) for _ in range(3))
    said_present[codes[present]] = said_absent[codes[absent]] = said_strange[codes[strange]] = True
    known = Intervals(
        said_present.astype(np.float64), said_present.astype(np.float64),
        np.zeros(n, bool), np.zeros(n, bool), np.full(n, Reason.FINDING, np.int8),
    )  # fmt: skip
    empty = known.because(~(said_present | said_absent), Reason.NOT_MEASURED)
    strange_only = empty.because(said_strange & ~(said_present | said_absent), Reason.UNMAPPED_TEXT)
    return strange_only.because(said_present & said_absent, Reason.SOURCE_CONFLICT)


def _quantity(cells: pd.DataFrame, quantity: Quantity, column: ColumnConfig, config: EchoWide) -> Intervals:
    if quantity.kind == "number":
        read = [
            read_numbers(cells[name], quantity, str(column.unit), config.missing, config.decimal_comma)
            for name in cells.columns
        ]
    else:
        read = [read_levels(cells[name], quantity, column.words or {}, config.missing) for name in cells.columns]
    return _agreed(read, quantity.resolution or 0.0)


def _derived(values: Mapping[str, Intervals], catalogue: TaskCatalogue) -> dict[str, Intervals]:
    complete = dict(values)
    for name, ratio in catalogue.derivations.items():
        if ratio.numerator in values and ratio.denominator in values:
            derived = _ratio(values[ratio.numerator], values[ratio.denominator], ratio, catalogue.quantities[name])
            own = values.get(name, Intervals.unknown(len(derived), Reason.NOT_AVAILABLE_IN_SOURCE))
            silent = np.isin(own.reason, (Reason.NOT_MEASURED, Reason.NOT_AVAILABLE_IN_SOURCE))
            complete[name] = derived.where(silent, own)
    return complete


def _ratio(above: Intervals, below: Intervals, ratio: Ratio, quantity: Quantity) -> Intervals:
    # plausible values are positive, so the extremes of the ratio are at the ends; an end that is missing stays missing
    factor = ratio.factor
    lowest = np.where(np.isfinite(above.low) & np.isfinite(below.high), above.low / below.high * factor, -np.inf)
    divisor = np.where(below.low > 0, below.low, np.nan)
    highest = np.where(np.isfinite(above.high) & (divisor > 0), above.high / divisor * factor, np.inf)
    low, high = quantity.rounded(lowest), quantity.rounded(highest)
    # a bound that rounding moved can be reached by a rounded value
    low_open = (above.low_open | below.high_open) & np.isclose(low, lowest, rtol=1e-9, atol=0)
    high_open = (above.high_open | below.low_open) & np.isclose(high, highest, rtol=1e-9, atol=0)
    n = len(low)
    result = Intervals(low, high, low_open, high_open, np.full(n, Reason.DERIVED, np.int8))
    assert quantity.valid is not None
    outside = [np.isfinite(end) & ((end < quantity.valid[0]) | (end > quantity.valid[1])) for end in (low, high)]
    unknown = Intervals.unknown(n, Reason.NOT_MEASURED)
    unknown = replace(unknown, reason=np.maximum(above.reason, below.reason))
    both = above.has_value & below.has_value
    useful = result.because(~result.has_value, Reason.RANGE_STRADDLES)
    return useful.because(outside[0] | outside[1], Reason.OUT_OF_RANGE).where(both, unknown)


def _unusable(values: Mapping[str, Intervals]) -> list[Count]:
    """How often a cell had content that could not be used, by quantity and reason."""
    unusable = (Reason.UNMAPPED_TEXT, Reason.OUT_OF_RANGE, Reason.ALIAS_CONFLICT, Reason.SOURCE_CONFLICT)
    return [
        (name, reason.text, count)
        for name, intervals in values.items()
        for reason in unusable
        if (count := int((intervals.reason == reason).sum()))
    ]
