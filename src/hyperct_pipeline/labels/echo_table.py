"""A table of echo examinations, one row each or one row per measurement, to pseudonymous rows with intervals."""

import logging
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hyperct_pipeline.errors import LeakageError
from hyperct_pipeline.labels.derivation import with_derived
from hyperct_pipeline.labels.echo_cells import Read, between, long_cells, wide_cells
from hyperct_pipeline.labels.examination_days import date_column, patient_days
from hyperct_pipeline.labels.identifiers import USED_ALL_THE_SAME, hashed
from hyperct_pipeline.labels.intervals import Intervals, agreed, spanned
from hyperct_pipeline.labels.quantities import Quantity
from hyperct_pipeline.labels.reading import SUSPICION_COLUMNS, Count, Reading, unusable
from hyperct_pipeline.labels.source_formats import EchoFormat, EchoLong
from hyperct_pipeline.labels.tables import as_text, optional_column
from hyperct_pipeline.labels.tasks import TaskCatalogue
from hyperct_pipeline.labels.unmapped_words import all_words, unmapped_words
from hyperct_pipeline.pseudonyms import Pseudonyms

logger = logging.getLogger(__name__)

# Single dates are mistyped; when most cannot be read, it is the format that is wrong.
UNREADABLE_DATES_SHARE = 0.5
# Rows of a table that does not say which examinations are resting ones; all count.
UNTYPED = ("rows", "without_column_of_study_type")


@dataclass(frozen=True)
class _Exams:
    """Examinations of a table: which rows belong to one, number of the examination of each of those, their keys."""

    rows: NDArray[np.bool_]
    codes: NDArray[np.intp]
    table: pd.DataFrame  # patient_key, day, excluded; one row per examination


def read_echo(
    source: str,
    table: pd.DataFrame,
    config: EchoFormat,
    catalogue: TaskCatalogue,
    pseudonyms: Pseudonyms,
    need_ids: bool = True,
) -> Reading:
    """One row per examination that names a patient.

    Rows of one examination (same name of examination, or same patient and day) are one; where they differ, the value
    spans both (`source_conflict`).

    Args:
        source: its name.
        table: one row per examination, or per measurement (`echo_long`).
        config: how the table is written.
        catalogue: quantities and derivations.
        pseudonyms: turn ids into keys.
        need_ids: an id or date column that is absent is an error; otherwise rows are numbered.

    Raises:
        LabelTableError: a needed column is missing, renamed or doubled.
        LeakageError: an examination stands under two patients.
    """
    text = as_text(table, source)
    found = long_cells(text, source, config) if isinstance(config, EchoLong) else wide_cells(text, source, config)
    keys, similar_ids, counts = patient_days(
        text, source, config.id, pseudonyms, need_ids, config.issuer, all_one=isinstance(config, EchoLong)
    )
    exams = _examinations(source, text, config, keys, pseudonyms)
    patients = keys["patient_key"].to_numpy(object)
    values, words, suspicions = {}, [], []
    for name, cells in found.items():
        quantity = catalogue.quantities[name]
        columns, ends = cells.read(quantity, config)
        values[name] = _of_exams(columns, ends, exams, quantity)
        read = [*columns, *ends]
        words += [
            unmapped_words(
                name, one.texts[exams.rows], one.unmapped[exams.rows], patients[exams.rows], cells.vocabulary
            )
            for one in read
        ]
        suspicions += [(name, str(cells.unit), *guess) for guess in cells.likely_units(quantity, read, config)]
    undated = int((keys["day"].isna() & exams.rows).sum()) if date_column(text, config.id) else 0
    _warn_of_dates(source, undated, int(exams.rows.sum()), config.id.date_format)
    untyped = 0 if config.id.study_type in text.columns else len(text)
    units = [(q, f"units_{likely}_instead_of_{unit}", n) for q, unit, likely, n in suspicions]
    counted = [*_row_counts(text, exams, counts, undated), (*UNTYPED, untyped), *units, *unusable(values)]
    told = tuple(entry for entry in counted if entry[2] or entry[1] == "in")
    return Reading(
        source, exams.table, with_derived(values, catalogue), told,
        all_words(words), pd.DataFrame(suspicions, columns=list(SUSPICION_COLUMNS)), similar_ids,
    )  # fmt: skip


def _row_counts(text: pd.DataFrame, exams: _Exams, id_counts: list[Count], undated: int) -> list[Count]:
    """What became of the rows; id_counts: ids that were not used, by reason."""
    explained = sum(count for _, reason, count in id_counts if reason not in USED_ALL_THE_SAME)
    return [
        ("rows", "in", len(text)), *id_counts, ("rows", "id_blank", int((~exams.rows).sum()) - explained),
        ("rows", "date_unreadable", undated), ("rows", "not_resting", int(exams.table["excluded"].sum())),
        ("rows", "repeated_row", int(text.duplicated().sum()) if len(text.columns) > 1 else 0),
    ]  # fmt: skip


def _examinations(
    source: str, text: pd.DataFrame, config: EchoFormat, keys: pd.DataFrame, pseudonyms: Pseudonyms
) -> _Exams:
    rows = keys["patient_key"].notna().to_numpy()
    excluded = np.zeros(len(text), bool)
    if (kinds := _study_types(text, source, config)) is not None:
        excluded = ~kinds.str.lower().isin(config.use_study_types).to_numpy()
    named = keys[rows].assign(excluded=excluded[rows])
    codes = _exam_codes(text[rows], config, named, pseudonyms)
    exams = named.assign(code=codes).groupby("code", sort=True)
    _refuse_two_patients(source, exams["patient_key"].nunique())
    first = exams.first()[["patient_key", "day"]].assign(excluded=exams["excluded"].any())
    table = first.astype({"patient_key": "str", "day": "Int64", "excluded": "bool"}).reset_index(drop=True)
    return _Exams(rows, codes, table)


def _study_types(text: pd.DataFrame, source: str, config: EchoFormat) -> "pd.Series[str] | None":
    """Kind of examination of each row, None where the table does not say; then all count as resting."""
    own = [n for column in config.columns.values() for n in (*column.names, *(column.range or ()))]
    long = (config.measurement, config.result, config.result_unit) if isinstance(config, EchoLong) else ()
    claimed = (config.id.patient, *config.id.date, *filter(None, [config.id.exam]), *long, *own, *config.ignore)
    return optional_column(text, source, (config.id.study_type,), claimed)


def _exam_codes(
    text: pd.DataFrame, config: EchoFormat, named: pd.DataFrame, pseudonyms: Pseudonyms
) -> NDArray[np.intp]:
    """Number of the examination of each row, in order of first appearance."""
    alone = pd.Series([f"row {k}" for k in range(len(text))], index=text.index)
    day = named["day"].astype("str")
    # of one patient on one day, a stress echo is another examination than a resting one
    per_day = named["patient_key"] + "|" + day + "|" + named["excluded"].astype("str")
    dated = named["day"].notna().to_numpy()
    own = per_day if isinstance(config, EchoLong) else per_day.where(dated, alone)
    if config.id.exam and config.id.exam in text.columns:
        exam = hashed(text[config.id.exam], pseudonyms.study_key)
        own = exam.where(exam.notna(), own)
    return np.asarray(pd.factorize(own)[0])


def _refuse_two_patients(source: str, patients: "pd.Series[int]") -> None:
    if (patients > 1).any():
        raise LeakageError(
            f"Table '{source}': {int((patients > 1).sum())} examinations stand under two patients. Correct the patient "
            "ids; otherwise the values of one patient would label another."
        )


def _of_exams(columns: list[Read], ends: list[Read], exams: _Exams, quantity: Quantity) -> Intervals:
    """What the rows of each examination say of a quantity; columns that name the same thing must agree."""

    def together(one: Read) -> Intervals:
        return spanned(one.values.take(exams.rows & one.rows), exams.codes[one.rows[exams.rows]], len(exams.table))

    said = [together(one) for one in columns]
    if ends:
        said.append(between(*(together(end) for end in ends)))
    return agreed(said, quantity.resolution or 0.0)


def _warn_of_dates(source: str, undated: int, named: int, date_format: str) -> None:
    if undated > UNREADABLE_DATES_SHARE * named:
        logger.warning(
            "Label source '%s': %d of %d dates are unreadable as '%s', and an echo without a date is paired with no "
            "CT; check id.date_format (parameters_sources.yml)", source, undated, named, date_format,
        )  # fmt: skip
