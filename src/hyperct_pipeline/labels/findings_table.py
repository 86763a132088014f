"""A table of radiological findings to one pseudonymous row per study."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hyperct_pipeline.errors import LeakageError
from hyperct_pipeline.labels.eligibility import UNDER_AGE, age_in_years, excluding_words
from hyperct_pipeline.labels.finding_cells import Cells, auto_columns, columns_of, located_cells
from hyperct_pipeline.labels.identifiers import WRITTEN_AS_DECIMAL, hashed, patient_keys, similar, study_ids, trusted
from hyperct_pipeline.labels.intervals import Intervals, Reason, agreed
from hyperct_pipeline.labels.reading import Count, Reading, unusable
from hyperct_pipeline.labels.source_formats import FindingsByLocation, FindingsFormat
from hyperct_pipeline.labels.spelling import nearest_column
from hyperct_pipeline.labels.tables import as_text, first_column, needed_column
from hyperct_pipeline.labels.tasks import TaskCatalogue
from hyperct_pipeline.labels.unmapped_words import all_words, unmapped_words
from hyperct_pipeline.pseudonyms import Pseudonyms

LISTED = "on_exclusion_list"
NAMED_IN_MESSAGES = 3


@dataclass(frozen=True)
class _Named:
    """The rows that name a study: ids (study, patient, split), code of the study per row, key per study."""

    ids: pd.DataFrame
    rows: NDArray[np.bool_]
    codes: NDArray[np.intp]
    keys: "pd.Index[str]"


def read_findings(
    source: str,
    table: pd.DataFrame,
    config: FindingsFormat,
    catalogue: TaskCatalogue,
    pseudonyms: Pseudonyms,
    further: Mapping[str, pd.DataFrame] | None = None,
    need_ids: bool = True,
    min_age_years: float = 18,
) -> Reading:
    """One row per study; reconstructions and doubled rows must agree, else unknown (`source_conflict`).

    Args:
        source: its name.
        table: one row per study or reconstruction.
        config: how the table is written.
        catalogue: which findings are wanted.
        pseudonyms: turn ids into keys.
        further: tables that the source reads beside its own (`extra_tables`), by name; each may be absent.
        need_ids: an id column that is absent is an error; otherwise rows are numbered.
        min_age_years: studies of younger patients are excluded.

    Raises:
        LabelTableError: a needed column is missing, renamed or doubled.
        LeakageError: a study stands under two patients.
    """
    text, given = as_text(table, source), further or {}
    named, counts = _named(source, text, config, given, pseudonyms, need_ids)
    rows = _study_rows(source, named, config, pseudonyms)
    exclusion = _exclusion(text, named, config, given, pseudonyms, min_age_years, counts)
    values, words = {}, []
    cells = _cells(source, text, config, catalogue)
    who = (rows["patient_key"].fillna(rows["study_key"])).to_numpy(object)[named.codes]
    vocabulary = (*config.present, *config.absent, *config.unknown)
    for finding, columns in cells.items():
        values[finding] = _of_studies(columns, named).because(exclusion != "", Reason.EXCLUDED)
        for column in columns:
            words.append(unmapped_words(finding, column.cells[named.rows], column.strange[named.rows], who, vocabulary))
    graded = config.findings if isinstance(config, FindingsByLocation) else {}
    counts += [(f, f"match_{graded[f].match}", int(values[f].has_value.sum())) for f in values if f in graded]
    return Reading(
        source, rows.assign(excluded=exclusion != "", exclusion=exclusion), values, (*counts, *unusable(values)),
        all_words(words),
        similar_ids=similar(named.ids["study"], hashed(named.ids["study"], pseudonyms.study_key), pseudonyms.study_key),
    )  # fmt: skip


def _named(
    source: str,
    text: pd.DataFrame,
    config: FindingsFormat,
    further: Mapping[str, pd.DataFrame],
    pseudonyms: Pseudonyms,
    need_ids: bool,
) -> tuple[_Named, list[Count]]:
    patient_counts: list[Count] = []
    if need_ids or config.id.column in text.columns or nearest_column(config.id.column, text.columns, 0.8):
        ids, counts = study_ids(needed_column(text, source, config.id.column), config.id)
    else:
        ids, counts = pd.DataFrame({"study": [str(k) for k in range(1, len(text) + 1)], "patient": "", "split": ""}), []
    if config.id.patient and config.id.patient in text.columns:
        ids["patient"], patient_counts = trusted(text[config.id.patient])
    elif config.id.patient_from and config.id.patient_from.table in further:
        ids["patient"] = _patients_elsewhere(ids["study"], config, further[config.id.patient_from.table])
    rows = ids["study"].ne("").to_numpy()
    # by key, not by text: spellings that differ by case alone are one study
    codes, keys = pd.factorize(hashed(ids["study"][rows], pseudonyms.study_key))
    explained = sum(count for _, reason, count in counts if reason != WRITTEN_AS_DECIMAL)
    counted = [
        ("rows", "in", len(text)), *counts, ("rows", "id_blank", int((~rows).sum()) - explained), *patient_counts,
        ("rows", "repeated_study", int(rows.sum()) - len(keys)),
    ]  # fmt: skip
    return _Named(ids, rows, codes, keys), [entry for entry in counted if entry[2] or entry[1] == "in"]


def _patients_elsewhere(studies: "pd.Series[str]", config: FindingsFormat, table: pd.DataFrame) -> "pd.Series[str]":
    """The patient of each study from a further table; a study with two of them is refused."""
    place = config.id.patient_from
    assert place is not None
    text = as_text(table, place.table)
    named, _ = study_ids(needed_column(text, place.table, config.id.column), config.id)
    patients, _ = trusted(needed_column(text, place.table, place.column))
    pairs = pd.DataFrame({"study": named["study"], "patient": patients})
    pairs = pairs[(pairs["study"] != "") & (pairs["patient"] != "")].drop_duplicates()
    doubled = pairs["study"].duplicated()
    if doubled.any():
        raise LeakageError(
            f"Table '{place.table}': {int(doubled.sum())} studies stand under two patients. Correct its column "
            f"'{place.column}'; otherwise one patient could be trained and tested on."
        )
    return studies.map(pairs.set_index("study")["patient"]).fillna("").astype("str")


def _study_rows(source: str, named: _Named, config: FindingsFormat, pseudonyms: Pseudonyms) -> pd.DataFrame:
    """study_key, accession_key, patient_key and official split of every study."""
    ids = named.ids[named.rows].assign(code=named.codes)
    patients = patient_keys(ids["patient"], pseudonyms, config.issuer)
    _refuse_two_patients(source, named, patients)
    first = ids.groupby("code").first()
    accession = pd.Series(pd.NA, index=first.index, dtype="str")
    if config.id.type == "accession_number":
        accession = hashed(first["study"], pseudonyms.accession_key)
    official = first["split"].map(config.official_splits or {})
    return pd.DataFrame(
        {
            # of an accession number too: its name stands in until the archive gives the StudyInstanceUID
            "study_key": pd.Series(named.keys, dtype="str"),
            "accession_key": accession.reset_index(drop=True),
            "patient_key": patients.groupby(named.codes).first().reset_index(drop=True).astype("str"),
            "split": official.reset_index(drop=True).astype("str"),
        }
    )


def _refuse_two_patients(source: str, named: _Named, patients: "pd.Series[str]") -> None:
    distinct = patients.groupby(named.codes).nunique()
    if (distinct > 1).any():
        keys = [str(named.keys[code]) for code in distinct.index[distinct > 1]]
        of_first = sorted(patients[named.codes == distinct.index[distinct > 1][0]].dropna().unique())
        raise LeakageError(
            f"Table '{source}': {len(keys)} studies stand under two patients: {keys[0]} under "
            f"{' and '.join(of_first)}. Correct the patient ids; otherwise one patient could be trained and tested on."
        )


def _exclusion(
    text: pd.DataFrame,
    named: _Named,
    config: FindingsFormat,
    further: Mapping[str, pd.DataFrame],
    pseudonyms: Pseudonyms,
    min_age_years: float,
    counts: list[Count],
) -> NDArray[np.object_]:
    """Why each study is excluded, several reasons joined by ";", "" where it is not; counts are added to."""
    reasons: dict[str, NDArray[np.bool_]] = {}
    for name in config.exclude_tables:
        if name in further:
            listed, strange = _listed(name, further[name], config, pseudonyms)
            reasons[LISTED] = reasons.get(LISTED, np.zeros(len(named.keys), bool)) | named.keys.isin(listed)
            counts += [(name, "id_unreadable", strange)] if strange else []
            counts += [(name, "ids_of_no_study", int((~listed.isin(named.keys)).sum()))] if len(listed) else []
    columns = config.eligibility
    if (ages := first_column(text, columns.age_years)) is not None:
        age, strange = age_in_years(ages)
        counts += [("age_years", "unreadable", strange)] if strange else []
        reasons[UNDER_AGE] = _any_row((age < min_age_years).fillna(False).to_numpy(bool), named)
    for reason, words in (columns.excluded_where or {}).items():
        hit = excluding_words(text, words)
        reasons[reason] = _any_row(hit, named)
    counts += [("studies", f"excluded_{reason}", int(hit.sum())) for reason, hit in reasons.items()]
    joined = np.full(len(named.keys), "", object)
    for reason, hit in reasons.items():
        joined = joined + np.where(hit & (joined != ""), ";", "") + np.where(hit, reason, "")
    counts.append(("studies", "excluded", int((joined != "").sum())))
    return joined


def _listed(
    name: str, table: pd.DataFrame, config: FindingsFormat, pseudonyms: Pseudonyms
) -> tuple["pd.Series[str]", int]:
    """Keys of the studies on an exclusion list, and how many of its rows name none."""
    ids, _ = study_ids(needed_column(as_text(table, name), name, config.id.column), config.id)
    keys = hashed(ids["study"], pseudonyms.study_key)
    return keys.dropna().drop_duplicates(), int(keys.isna().sum())


def _any_row(hit: NDArray[np.bool_], named: _Named) -> NDArray[np.bool_]:
    out = np.zeros(len(named.keys), bool)
    out[named.codes[hit[named.rows]]] = True
    return out


def _cells(
    source: str, text: pd.DataFrame, config: FindingsFormat, catalogue: TaskCatalogue
) -> Mapping[str, list[Cells]]:
    if isinstance(config, FindingsByLocation):
        return located_cells(text, source, config, catalogue)
    columns = columns_of(text, source, config, catalogue, auto_columns(text, config))
    return {finding: [Cells.of(text[name], config) for name in names] for finding, names in columns.items()}


def _of_studies(columns: list[Cells], named: _Named) -> Intervals:
    """One finding, of which all columns that name it must agree."""
    read = [column.of_studies(named.rows, named.codes, len(named.keys)) for column in columns]
    # a study whose rows contradict each other in one column is not decided by another column
    contradicted = np.any([one.reason == Reason.SOURCE_CONFLICT for one in read], axis=0)
    return agreed(read, 0.0).because(contradicted, Reason.SOURCE_CONFLICT)
