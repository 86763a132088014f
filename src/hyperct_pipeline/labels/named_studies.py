"""Which study and patient each row of a findings table is about."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hyperct_pipeline.errors import LeakageError
from hyperct_pipeline.labels.identifiers import USED_ALL_THE_SAME, WITHOUT_ID, hashed, patient_keys, study_ids, trusted
from hyperct_pipeline.labels.reading import Count
from hyperct_pipeline.labels.shown_columns import RENAMED_SIMILARITY
from hyperct_pipeline.labels.source_formats import FindingsFormat
from hyperct_pipeline.labels.spelling import nearest_column
from hyperct_pipeline.labels.tables import as_text, needed_column
from hyperct_pipeline.pseudonyms import Pseudonyms


@dataclass(frozen=True)
class NamedStudies:
    """The rows that name a study: ids (study, patient, split), code of the study per row, key per study."""

    ids: pd.DataFrame
    rows: NDArray[np.bool_]
    codes: NDArray[np.intp]
    keys: "pd.Index[str]"


def named_studies(
    source: str,
    text: pd.DataFrame,
    config: FindingsFormat,
    further: Mapping[str, pd.DataFrame],
    pseudonyms: Pseudonyms,
    need_ids: bool,
) -> tuple[NamedStudies, list[Count]]:
    """The rows that name a study, and counts of those that do not; arguments as for `read_findings`."""
    patient_counts: list[Count] = []
    if (
        need_ids
        or config.id.column in text.columns
        or nearest_column(config.id.column, text.columns, RENAMED_SIMILARITY)
    ):
        ids, counts = study_ids(needed_column(text, source, config.id.column), config.id)
    else:
        ids, counts = pd.DataFrame({"study": [str(k) for k in range(1, len(text) + 1)], "patient": "", "split": ""}), []
    blank = text[config.id.column].eq("") if config.id.column in text.columns else pd.Series(False, index=text.index)
    if not need_ids and blank.any():
        counts = [*counts, ("rows", WITHOUT_ID, int(blank.sum()))]
        ids["study"] = ids["study"].mask(blank, pd.Series([f"(row {k})" for k in range(1, len(text) + 1)], dtype="str"))
    if config.id.patient and config.id.patient in text.columns:
        ids["patient"], patient_counts = trusted(text[config.id.patient])
    elif config.id.patient_from and config.id.patient_from.table in further:
        ids["patient"] = _patients_elsewhere(ids["study"], config, further[config.id.patient_from.table])
    rows = ids["study"].ne("").to_numpy()
    # by key, not by text: spellings that differ by case alone are one study
    codes, keys = pd.factorize(hashed(ids["study"][rows], pseudonyms.study_key))
    explained = sum(count for _, reason, count in counts if reason not in USED_ALL_THE_SAME)
    counted = [
        ("rows", "in", len(text)), *counts, ("rows", "id_blank", int((~rows).sum()) - explained), *patient_counts,
        ("rows", "repeated_study", int(rows.sum()) - len(keys)),
    ]  # fmt: skip
    return NamedStudies(ids, rows, codes, keys), [entry for entry in counted if entry[2] or entry[1] == "in"]


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


def study_rows(source: str, named: NamedStudies, config: FindingsFormat, pseudonyms: Pseudonyms) -> pd.DataFrame:
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


def _refuse_two_patients(source: str, named: NamedStudies, patients: "pd.Series[str]") -> None:
    distinct = patients.groupby(named.codes).nunique()
    if (distinct > 1).any():
        keys = [str(named.keys[code]) for code in distinct.index[distinct > 1]]
        of_first = sorted(patients[named.codes == distinct.index[distinct > 1][0]].dropna().unique())
        raise LeakageError(
            f"Table '{source}': {len(keys)} studies stand under two patients: {keys[0]} under "
            f"{' and '.join(of_first)}. Correct the patient ids; otherwise one patient could be trained and tested on."
        )
