"""All sources together: labels of every study, one label per task, its cohort, split and volume."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass as plain_dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from hyperct_pipeline.labels.agreement import agreed_age
from hyperct_pipeline.labels.eligibility import EligibilityConfig, eligibility_table
from hyperct_pipeline.labels.flips import definition_flips
from hyperct_pipeline.labels.given_tables import read_given
from hyperct_pipeline.labels.harmonization import int8
from hyperct_pipeline.labels.intervals import REASON_TEXTS
from hyperct_pipeline.labels.joins import check_statements, joined
from hyperct_pipeline.labels.long_labels import labelled
from hyperct_pipeline.labels.pairing import PAIRING_COLUMNS, LinkageConfig, pairing_counts
from hyperct_pipeline.labels.reading import Count, Reading
from hyperct_pipeline.labels.rules import Truth
from hyperct_pipeline.labels.similar_ids import warn_of_similar_ids
from hyperct_pipeline.labels.sources import LabelSourcesConfig
from hyperct_pipeline.labels.splits import SplitConfig, assign_splits, refuse_two_patients
from hyperct_pipeline.labels.statements import is_echo, statements
from hyperct_pipeline.labels.studies import all_studies, image_studies, with_cohorts
from hyperct_pipeline.labels.tasks import TaskCatalogue
from hyperct_pipeline.pseudonyms import Pseudonyms

logger = logging.getLogger(__name__)

ALL_TABLES = "(all tables)"

INDEX_COLUMNS = (
    "study_key", "patient_key", "site", "cohort", "split", "sex", "age_years", "scanner", "kernel",
    "slice_thickness_mm", "volume", "volume_sha256", "status", "reason",
)  # fmt: skip


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class HarmonizeConfig:
    """`params:harmonize`."""

    linkage: LinkageConfig = Field(default_factory=LinkageConfig)
    eligibility: EligibilityConfig = Field(default_factory=EligibilityConfig)
    splits: SplitConfig = Field(default_factory=SplitConfig)


@plain_dataclass(frozen=True)
class Harmonized:
    """The result of harmonizing all tables.

    Attributes:
        labels: one row per study, task and source that speaks about the study (source null: none does).
        index: one row per study, `INDEX_COLUMNS` and one nullable Int8 column per task, sorted by study_key.
        reasons: (n_studies, n_tasks), the reason text of each label of the index.
        eligibility: one row per study: whether it counts, and why not.
        flips: per task and other definition set, how many labels of the index would change.
        pairing: how many studies have an echo within so many days.
        readings: what each table said.
        counts: source -> (item, reason, count) met while reading and joining its table; `ALL_TABLES` -> what only
            shows when they are compared.
    """

    labels: pd.DataFrame
    index: pd.DataFrame
    reasons: NDArray[np.object_]
    eligibility: pd.DataFrame
    flips: pd.DataFrame
    pairing: pd.DataFrame
    readings: Sequence[Reading]
    counts: Mapping[str, Sequence[Count]]


def harmonize_all(
    tables: Mapping[str, pd.DataFrame],
    cohorts: pd.DataFrame,
    pseudonyms: Pseudonyms,
    manifest: pd.DataFrame,
    preprocessed: pd.DataFrame,
    catalogue: TaskCatalogue,
    sources: LabelSourcesConfig,
    config: HarmonizeConfig,
    earlier_splits: pd.DataFrame | None = None,
) -> Harmonized:
    """Harmonize every table given.

    Args:
        tables: source name (or name of a table that a source reads besides) -> raw table.
        cohorts: id_type, id, site, cohort, split, sex, age_years and optionally issuer, all text; an empty frame puts
            every study into the first of the divided cohorts.
        pseudonyms: turn the tables' ids into keys.
        manifest: conversion manifest; an empty frame where nothing was converted: studies then come from the
            findings tables, and where there are none, every echo examination is a study itself.
        preprocessed: preprocess table, or an empty frame: `volume` is then null.
        catalogue: tasks, checked.
        sources: formats, checked.
        config: pairing, eligibility and splits.
        earlier_splits: assignments of an earlier run (`split_assignments`), which stay.

    Raises:
        LabelTableError: no table, an unknown source, a table lacks what its source declares, or no table speaks of
            any study of the archive.
        LeakageError: a patient in two splits, or a study under two patients.
    """
    readings = read_given(tables, catalogue, sources, pseudonyms, config.eligibility.min_age_years)
    images = image_studies(manifest, preprocessed)
    findings = [r for r in readings if not is_echo(r.source, sources)]
    paired = bool(len(images)) or bool(findings)
    own = findings if paired else readings
    studies, matches = all_studies(images, own, pseudonyms)
    rows = dict(zip([reading.source for reading in own], matches, strict=True))
    studies = with_cohorts(studies, cohorts, pseudonyms, config.splits.cohorts[:1])
    refuse_two_patients(studies)
    similar = warn_of_similar_ids([reading.similar_ids for reading in readings])
    of_reading = [rows.get(reading.source, np.full(len(studies), -1)) for reading in readings]
    studies, stated = statements(studies, readings, of_reading, sources, config.linkage, paired)
    studies["age_years"] = agreed_age(studies["cohort_age_years"], studies["age_years"])
    check_statements(studies, stated, sources)
    eligibility = eligibility_table(studies, config.eligibility)
    out = ~eligibility["eligible"].to_numpy(bool)
    merged, labels = labelled(studies, stated, catalogue, out)
    index = _index(studies, merged, config.splits, earlier_splits)
    order = np.argsort(index["study_key"].to_numpy(object), kind="stable")
    echoes = [reading for reading in readings if paired and is_echo(reading.source, sources)]
    return Harmonized(
        labels,
        index.iloc[order].reset_index(drop=True),
        REASON_TEXTS[np.stack([merged[task].reason for task in catalogue.ids], axis=1)][order],
        eligibility.iloc[order].reset_index(drop=True),
        definition_flips(stated, catalogue, out, merged),
        _pairing(studies, echoes, config.linkage),
        readings,
        {s.reading.source: (*s.reading.counts, *joined(s, studies)) for s in stated}
        | ({ALL_TABLES: [("ids", "differ_by_zeros_or_blanks", similar)]} if similar else {}),
    )


def _pairing(studies: pd.DataFrame, echoes: Sequence[Reading], linkage: LinkageConfig) -> pd.DataFrame:
    parts = [pairing_counts(studies, reading, linkage) for reading in echoes]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(PAIRING_COLUMNS))


def _index(
    studies: pd.DataFrame, merged: Mapping[str, Truth], config: SplitConfig, earlier: pd.DataFrame | None
) -> pd.DataFrame:
    matrix = pd.DataFrame({task: int8(truth.true, truth.known) for task, truth in merged.items()})
    unplaced = studies["cohort"].isna().to_numpy()
    note = np.where(unplaced, "NOT_IN_COHORTS", "")
    reason = studies["reason"].fillna("").to_numpy(object)
    both = np.where((reason != "") & unplaced, reason + ";" + note, reason + note)
    index = studies.assign(split=assign_splits(studies, matrix, config, earlier), reason=pd.Series(both, dtype="str"))
    if unplaced.any():
        logger.warning("%d studies are not in the cohorts table: they keep their row, but no split", unplaced.sum())
    return pd.concat([index[list(INDEX_COLUMNS)], matrix], axis=1)
