"""Which studies there are: of the image archive, of the label tables, and what the cohorts table says of them."""

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hyperct_pipeline.errors import LabelTableError, LeakageError
from hyperct_pipeline.labels.cohort_table import agreed_rows, cohort_rows
from hyperct_pipeline.labels.identifiers import hashed
from hyperct_pipeline.labels.reading import Reading
from hyperct_pipeline.labels.splits import refuse_two_patients
from hyperct_pipeline.pseudonyms import Pseudonyms

logger = logging.getLogger(__name__)

STUDY_TYPES = {
    "study_key": "str", "patient_key": "str", "accession_key": "str", "day": "Int64", "status": "str",
    "reason": "str", "sex": "str", "age_years": "Float64", "scanner": "str", "kernel": "str",
    "slice_thickness_mm": "Float64", "volume": "str", "volume_sha256": "str", "source_split": "str", "exclusion": "str",
}  # fmt: skip


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


def all_studies(
    studies: pd.DataFrame, readings: Sequence[Reading], pseudonyms: Pseudonyms
) -> tuple[pd.DataFrame, list[NDArray[np.intp]]]:
    """Studies of the archive plus those that only a table knows (status `no_image`).

    Args:
        studies: columns `STUDY_TYPES`.
        readings: one row per study each; of echo, where every examination is to be a study.
        pseudonyms: name such examinations.

    Returns:
        All studies with what the tables say of their official split and exclusion, and per reading the row of the
        reading for every study (-1: it says nothing about it).

    Raises:
        LeakageError: archive and table name different patients for one study, or two tables different splits.
    """
    tables = [_as_studies(reading, pseudonyms) for reading in readings]
    for rows in tables:
        matched = _matches(studies, rows)
        alone = rows[~np.isin(np.arange(len(rows)), matched)]
        known = pd.concat([studies[["study_key", "patient_key"]], _named_patients(studies, rows, matched)])
        refuse_two_patients(known)
        added = alone[["study_key", "accession_key", "patient_key"]].assign(status="no_image", reason="NOT_IN_ARCHIVE")
        if len(added):
            added = added.reindex(columns=list(STUDY_TYPES)).astype(STUDY_TYPES)
            studies = pd.concat([studies, added], ignore_index=True)
    matches = [_matches(studies, rows) for rows in tables]
    exclusion, split = np.full(len(studies), "", object), pd.Series(None, index=studies.index, dtype="str")
    for rows, match in zip(tables, matches, strict=True):
        said = np.where(match >= 0, rows["exclusion"].to_numpy(object)[match] if len(rows) else "", "")
        exclusion = exclusion + np.where((exclusion != "") & (said != ""), ";", "") + said
        stated = rows["split"].reindex(match) if len(rows) else pd.Series(None, index=match, dtype="str")
        own = stated.reset_index(drop=True)
        split = _one_split(split, own.astype("str"), studies["patient_key"])
    return studies.assign(exclusion=exclusion, source_split=split).astype(STUDY_TYPES), matches


def with_cohorts(
    studies: pd.DataFrame, cohorts: pd.DataFrame, pseudonyms: Pseudonyms, only_cohort: Sequence[str] = ()
) -> pd.DataFrame:
    """Studies with site, cohort, split, cohort_sex, cohort_age_years; null where the cohorts table is silent.

    Rows that name a study go before rows that name its patient. The optional column `issuer` (IssuerOfPatientID)
    counts for rows that name a patient. Where the table leaves the split blank, the official one of a source stands.

    Args:
        studies: columns `STUDY_TYPES`.
        cohorts: the raw table; without rows and columns, every study is put into `only_cohort`.
        pseudonyms: turn the table's ids into keys.
        only_cohort: name of the cohort where there is no table.

    Raises:
        LabelTableError: a column is missing, a cell is impossible, one id has contradicting rows, or the table names
            no study at all.
    """
    values = ["site", "cohort", "split", "cohort_sex", "cohort_age_years"]
    merged = studies.assign(**dict.fromkeys(values))
    if cohorts.empty and not len(cohorts.columns):
        logger.warning(
            "No cohorts table: all %d studies count as one cohort; name one with `cohorts=PATH`", len(studies)
        )
        merged["cohort"] = next(iter(only_cohort), None)
    else:
        table = cohort_rows(cohorts)
        for column, keys in agreed_rows(table, pseudonyms, values):
            found = keys[values].reindex(merged[column])
            for value in values:
                new = found[value].to_numpy(object)
                merged[value] = np.where(pd.notna(new), new, merged[value].to_numpy(object))
        _refuse_strangers(merged, table)
    merged["split"] = merged["split"].astype("str").fillna(merged["source_split"])
    return merged.astype(dict.fromkeys(values[:-1], "str") | {"cohort_age_years": "Float64"})


def _refuse_strangers(merged: pd.DataFrame, table: pd.DataFrame) -> None:
    if len(merged) and len(table) and merged[["site", "cohort"]].isna().all(axis=None):
        types = ", ".join(f"{kind} ({count})" for kind, count in table["id_type"].value_counts().items())
        raise LabelTableError(
            f"Table 'cohorts': its {len(table)} rows match none of the {len(merged)} studies. Check the column id_type "
            f"(found: {types}), the spelling of its ids, and the column issuer (IssuerOfPatientID) where the archive "
            "states one."
        )


def _one_split(split: "pd.Series[str]", own: "pd.Series[str]", patients: "pd.Series[str]") -> "pd.Series[str]":
    """The official split of either table; two that differ are leakage."""
    both = split.notna() & own.notna() & (split != own)
    if both.any():
        key, first, second = patients[both].iloc[0], split[both].iloc[0], own[both].iloc[0]
        raise LeakageError(
            f"{int(both.sum())} studies have two official splits, e.g. of patient {key}: {first} and {second}. Correct "
            "`official_splits` of the sources (parameters_sources.yml)."
        )
    return split.fillna(own)


def _as_studies(reading: Reading, pseudonyms: Pseudonyms) -> pd.DataFrame:
    """Rows of a reading as studies; an echo examination is named by its patient and day."""
    rows = reading.rows
    if "study_key" in rows.columns:
        return rows
    name = (
        reading.source
        + "|"
        + rows["patient_key"]
        + "|"
        + rows["day"].astype("str").fillna("undated")
        + "|"
        + rows["excluded"].astype("str")
    )
    twin = rows.groupby(name).cumcount().astype("str")
    nothing = pd.Series(None, index=rows.index, dtype="str")
    return pd.DataFrame(
        {
            "study_key": hashed((name + "|" + twin).astype("str"), pseudonyms.study_key),
            "accession_key": nothing,
            "patient_key": rows["patient_key"],
            "split": nothing,
            "exclusion": pd.Series(np.where(rows["excluded"], "not_resting", ""), dtype="str"),
        }
    )


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
