"""Which studies there are: of the image archive, of the label tables, and what the cohorts table says of them."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hyperct_pipeline.errors import LabelTableError
from hyperct_pipeline.labels.readers import Reading, hashed
from hyperct_pipeline.labels.splits import SPLITS, refuse_two_patients, refuse_two_splits
from hyperct_pipeline.labels.tables import as_text, needed_column
from hyperct_pipeline.pseudonyms import OLDEST_AGE_YEARS, Pseudonyms

STUDY_TYPES = {
    "study_key": "str", "patient_key": "str", "accession_key": "str", "day": "Int64", "status": "str",
    "reason": "str", "sex": "str", "age_years": "Float64", "scanner": "str", "kernel": "str", "volume": "str",
    "volume_sha256": "str",
}  # fmt: skip
COHORT_COLUMNS = ("id_type", "id", "site", "cohort", "split", "sex", "age_years")
# How far ages may lie apart without a conflict: a cohorts table states one age for all studies of a patient.
AGE_TOLERANCE_YEARS = 2.0


def image_studies(manifest: pd.DataFrame, preprocessed: pd.DataFrame) -> pd.DataFrame:
    """One row per study of the archive, columns `STUDY_TYPES`; both tables may be empty frames without columns.

    status: ready (there is a volume), refused or failed (reason says why), pending (not converted or preprocessed yet).
    """
    if manifest.empty:
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in STUDY_TYPES.items()})
    studies = manifest.rename(columns={"reason_codes": "reason"})
    studies = studies.reindex(columns=[name for name in STUDY_TYPES if not name.startswith("volume")])
    studies["status"] = studies["status"].replace({"converted": "pending"})
    if preprocessed.empty:
        return studies.assign(volume=None, volume_sha256=None).astype(STUDY_TYPES).reset_index(drop=True)
    of_volume = ["volume", "volume_sha256"]
    later = preprocessed.set_index("study_key")[["status", "reason_codes", *of_volume]].reindex(studies["study_key"])
    there = later["status"].notna().to_numpy()
    step = later["status"].replace({"stored": "ready"}).to_numpy(object)
    studies["status"] = np.where(there, step, studies["status"].to_numpy(object))
    studies["reason"] = np.where(there, later["reason_codes"].to_numpy(object), studies["reason"].to_numpy(object))
    there_is = {column: later[column].to_numpy(object) for column in of_volume}
    return studies.assign(**there_is).astype(STUDY_TYPES).reset_index(drop=True)


def join_findings(studies: pd.DataFrame, findings: Sequence[Reading]) -> tuple[pd.DataFrame, list[NDArray[np.intp]]]:
    """Studies of the archive plus those that only a table of findings knows (status `no_image`).

    Args:
        studies: columns `STUDY_TYPES`.
        findings: readings, one row per study each.

    Returns:
        All studies, and per reading the row of the reading for every study (-1: it says nothing about it).

    Raises:
        LeakageError: archive and table name different patients for one study.
    """
    for reading in findings:
        rows = reading.rows
        matched = _matches(studies, rows)
        alone = rows[~np.isin(np.arange(len(rows)), matched)]
        known = pd.concat([studies[["study_key", "patient_key"]], _named_patients(studies, rows, matched)])
        refuse_two_patients(known)
        added = alone[["study_key", "accession_key", "patient_key"]].assign(status="no_image", reason="NOT_IN_ARCHIVE")
        if len(added):
            added = added.reindex(columns=list(STUDY_TYPES)).astype(STUDY_TYPES)
            studies = pd.concat([studies, added], ignore_index=True)
    return studies, [_matches(studies, reading.rows) for reading in findings]


def with_cohorts(studies: pd.DataFrame, cohorts: pd.DataFrame, pseudonyms: Pseudonyms) -> pd.DataFrame:
    """Studies with site, cohort, split, cohort_sex, cohort_age_years; null where the cohorts table is silent.

    Rows that name a study go before rows that name its patient. The optional column `issuer` (IssuerOfPatientID)
    counts for rows that name a patient.

    Raises:
        LabelTableError: a column is missing, an id_type or split is unknown, or one id has contradicting rows.
    """
    table = _cohort_table(cohorts)
    merged = studies.assign(site=None, cohort=None, split=None, cohort_sex=None, cohort_age_years=None)
    values = ["site", "cohort", "split", "cohort_sex", "cohort_age_years"]
    for id_type, key, hash_id in (
        ("patient_id", "patient_key", pseudonyms.patient_key),
        ("study_instance_uid", "study_key", pseudonyms.study_key),
        ("volume_name", "study_key", pseudonyms.study_key),
        ("accession_number", "accession_key", pseudonyms.accession_key),
    ):
        rows = table[table["id_type"] == id_type]
        if rows.empty:
            continue
        keys = _patient_keys(rows, pseudonyms) if id_type == "patient_id" else hashed(rows["id"], hash_id)
        rows = rows.assign(key=keys).drop_duplicates(["key", *values])
        _refuse_contradiction(rows)
        found = rows.set_index("key")[values].reindex(merged[key])
        for value in values:
            new = found[value].to_numpy(object)
            merged[value] = np.where(pd.notna(new), new, merged[value].to_numpy(object))
    return merged.astype(dict.fromkeys(values[:-1], "str") | {"cohort_age_years": "Float64"})


def agreed_sex(*stated: "pd.Series[str]") -> "pd.Series[str]":
    """F or M where at least one says so and none contradicts, otherwise null."""
    names = pd.concat([s.where(s.isin(["F", "M"])).reset_index(drop=True) for s in stated], axis=1)
    contradicted = (names == "F").any(axis=1) & (names == "M").any(axis=1)
    return names.bfill(axis=1).iloc[:, 0].mask(contradicted).astype("str")


def agreed_age(*stated: "pd.Series[float]") -> "pd.Series[float]":
    """The first age stated, null where two lie more than `AGE_TOLERANCE_YEARS` apart."""
    ages = pd.concat([s.reset_index(drop=True).astype("Float64") for s in stated], axis=1)
    spread = ages.max(axis=1) - ages.min(axis=1)
    return ages.bfill(axis=1).iloc[:, 0].mask((spread > AGE_TOLERANCE_YEARS).fillna(False)).astype("Float64")


def _matches(studies: pd.DataFrame, rows: pd.DataFrame) -> NDArray[np.intp]:
    """Per study the row that names it, by accession key first, then by study key; -1 = none."""
    match = np.full(len(studies), -1)
    for key in ("study_key", "accession_key"):
        named = rows[key].dropna()
        position = pd.Series(named.index.to_numpy(), index=named.to_numpy())
        found = studies[key].map(position).to_numpy(np.float64, na_value=np.nan)
        match = np.where(np.isnan(found), match, found).astype(np.intp)
    return match


def _named_patients(studies: pd.DataFrame, rows: pd.DataFrame, matched: NDArray[np.intp]) -> pd.DataFrame:
    there = matched >= 0
    named = rows["patient_key"].to_numpy(object)[matched[there]]
    return pd.DataFrame({"study_key": studies["study_key"][there].to_numpy(object), "patient_key": named}, dtype="str")


def _cohort_table(cohorts: pd.DataFrame) -> pd.DataFrame:
    text = as_text(cohorts, "cohorts")
    table = pd.DataFrame({column: needed_column(text, "cohorts", column) for column in COHORT_COLUMNS})
    table["issuer"] = text["issuer"] if "issuer" in text.columns else ""
    table = table[table["id"] != ""]
    known = ("patient_id", "accession_number", "study_instance_uid", "volume_name")
    for column, allowed in (("id_type", known), ("split", ("", *SPLITS))):
        strange = int((~table[column].isin(allowed)).sum())
        if strange:
            expected = ", ".join(filter(None, allowed))
            raise LabelTableError(f"Table 'cohorts': {strange} rows have an unknown {column}; expected {expected}.")
    age = pd.to_numeric(table["age_years"], errors="coerce").astype("Float64").clip(upper=OLDEST_AGE_YEARS)
    sex = table["sex"].str.upper().str[:1]
    blank = table.drop(columns=["sex", "age_years", "issuer"])
    stated = blank.mask(blank == "", None).assign(issuer=table["issuer"])
    return stated.assign(cohort_sex=sex.where(sex.isin(["F", "M"])), cohort_age_years=age)


def _patient_keys(rows: pd.DataFrame, pseudonyms: Pseudonyms) -> "pd.Series[str]":
    parts = [
        hashed(part["id"], partial(pseudonyms.patient_key, issuer=str(issuer)))
        for issuer, part in rows.groupby("issuer")
    ]
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
