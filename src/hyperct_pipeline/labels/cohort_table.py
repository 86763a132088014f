"""The cohorts table: site, cohort, official split, sex and age of patients or studies, checked cell by cell."""

from collections.abc import Iterator, Sequence

import pandas as pd

from hyperct_pipeline.errors import LabelTableError
from hyperct_pipeline.labels.eligibility import age_in_years
from hyperct_pipeline.labels.identifiers import WRITTEN_AS_DECIMAL, hashed, patient_keys, trusted
from hyperct_pipeline.labels.source_formats import SPLITS
from hyperct_pipeline.labels.splits import refuse_two_splits
from hyperct_pipeline.labels.tables import as_text, needed_column
from hyperct_pipeline.pseudonyms import Pseudonyms

COHORT_COLUMNS = ("id_type", "id", "site", "cohort", "split", "sex", "age_years")
ID_TYPES = ("patient_id", "study_instance_uid", "volume_name", "accession_number")  # later ones go before earlier ones
SEX = {"f": "F", "female": "F", "w": "F", "woman": "F", "m": "M", "male": "M", "man": "M"}
SEX_UNKNOWN = ("", "u", "unknown", "o", "other", "x", "d", "n", "na", "nan")


def cohort_rows(cohorts: pd.DataFrame) -> pd.DataFrame:
    """Rows with an id: id_type, id, site, cohort, split, issuer, cohort_sex (F, M or null), cohort_age_years.

    Raises:
        LabelTableError: a column is missing, or cells hold something else than they may; says which and how many.
    """
    text = as_text(cohorts, "cohorts")
    table = pd.DataFrame({column: needed_column(text, "cohorts", column) for column in COHORT_COLUMNS})
    table["issuer"] = text["issuer"] if "issuer" in text.columns else ""
    table["id"], counts = trusted(table["id"])
    if spoiled := sum(count for _, reason, count in counts if reason != WRITTEN_AS_DECIMAL):
        raise LabelTableError(
            f"Table 'cohorts': {spoiled} ids name nobody or were cut by a spreadsheet (1.23457E+12, #REF!). Export the "
            "column id as text."
        )
    table = table[table["id"] != ""].reset_index(drop=True)
    table["sex"] = table["sex"].str.lower()
    for column, allowed in (("id_type", ID_TYPES), ("split", ("", *SPLITS)), ("sex", (*SEX_UNKNOWN, *SEX))):
        if strange := int((~table[column].isin(allowed)).sum()):
            expected = ", ".join(filter(None, ("F", "M") if column == "sex" else allowed))
            raise LabelTableError(f"Table 'cohorts': {strange} rows have an unknown {column}; expected {expected}.")
    age, unreadable = age_in_years(table["age_years"])
    if unreadable:
        raise LabelTableError(
            f"Table 'cohorts': {unreadable} rows have an age_years that is no age; expected years from 0 to 130, "
            "or blank."
        )
    blank = table.drop(columns=["sex", "age_years", "issuer"])
    stated = blank.mask(blank == "", None).assign(issuer=table["issuer"])
    return stated.assign(cohort_sex=table["sex"].map(SEX).astype("str"), cohort_age_years=age)


def agreed_rows(
    table: pd.DataFrame, pseudonyms: Pseudonyms, values: Sequence[str]
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Per id_type, the most telling last: the key column it joins by, and its rows by key.

    Raises:
        LabelTableError: one id has rows that contradict each other.
        LeakageError: one id has two splits.
    """
    for id_type in ID_TYPES:
        rows = table[table["id_type"] == id_type]
        if rows.empty:
            continue
        if id_type == "patient_id":
            column, keys = "patient_key", _patient_keys(rows, pseudonyms)
        elif id_type == "accession_number":
            column, keys = "accession_key", hashed(rows["id"], pseudonyms.accession_key)
        else:
            column, keys = "study_key", hashed(rows["id"], pseudonyms.study_key)
        rows = rows.assign(key=keys).drop_duplicates(["key", *values])
        _refuse_contradiction(rows)
        yield column, rows.set_index("key")


def _patient_keys(rows: pd.DataFrame, pseudonyms: Pseudonyms) -> "pd.Series[str]":
    parts = [patient_keys(part["id"], pseudonyms, str(issuer)) for issuer, part in rows.groupby("issuer")]
    return pd.concat(parts).reindex(rows.index)


def _refuse_contradiction(rows: pd.DataFrame) -> None:
    """One id in two cohorts is a contradiction; two splits are reported as leakage, with the splits."""
    if rows["key"].is_unique:
        return
    refuse = rows.rename(columns={"key": "patient_key"})
    refuse_two_splits(refuse)
    keys = sorted(set(rows["key"][rows["key"].duplicated()]))
    raise LabelTableError(
        f"Table 'cohorts': {len(keys)} ids have rows that contradict each other, e.g. {keys[:3]}; keep one row per id."
    )
