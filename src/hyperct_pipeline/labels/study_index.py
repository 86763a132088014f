"""All sources together: labels of every study, one label per task, its cohort, split and volume."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass as plain_dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from hyperct_pipeline.errors import LabelTableError
from hyperct_pipeline.labels.harmonization import Observed, int8, label_table, read_source, verdicts
from hyperct_pipeline.labels.intervals import REASON_TEXTS, Intervals, Reason
from hyperct_pipeline.labels.joins import Join, check_joins
from hyperct_pipeline.labels.pairing import LinkageConfig, pair
from hyperct_pipeline.labels.readers import Count, Reading
from hyperct_pipeline.labels.rules import Truth
from hyperct_pipeline.labels.sources import EchoWide, FindingsWide, LabelSourcesConfig
from hyperct_pipeline.labels.splits import SplitConfig, assign_splits, refuse_two_patients
from hyperct_pipeline.labels.studies import agreed_age, agreed_sex, image_studies, join_findings, with_cohorts
from hyperct_pipeline.labels.tasks import TaskCatalogue
from hyperct_pipeline.pseudonyms import Pseudonyms

logger = logging.getLogger(__name__)

INDEX_COLUMNS = (
    "study_key", "patient_key", "site", "cohort", "split", "sex", "age_years", "scanner", "kernel", "volume",
    "volume_sha256", "status", "reason",
)  # fmt: skip


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class HarmonizeConfig:
    """`params:harmonize`."""

    linkage: LinkageConfig = Field(default_factory=LinkageConfig)
    splits: SplitConfig = Field(default_factory=SplitConfig)


@plain_dataclass(frozen=True)
class Statement:
    """What one source says: about which studies (bool, shape (n,)), and what; n studies, the same for all sources."""

    reading: Reading
    precedence: int
    said: NDArray[np.bool_]
    observed: Observed


@plain_dataclass(frozen=True)
class Harmonized:
    """The result of harmonizing all tables.

    Attributes:
        labels: one row per study, task and source that speaks about the study (source null: none does).
        index: one row per study, `INDEX_COLUMNS` and one nullable Int8 column per task, sorted by study_key.
        reasons: (n_studies, n_tasks), the reason text of each label of the index.
        counts: source -> (item, reason, count) met while reading and joining its table.
    """

    labels: pd.DataFrame
    index: pd.DataFrame
    reasons: NDArray[np.object_]
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
) -> Harmonized:
    """Harmonize every table given.

    Args:
        tables: source name (or name of an exclusion list) -> raw table.
        cohorts: id_type, id, site, cohort, split, sex, age_years and optionally issuer, all text.
        pseudonyms: turn the tables' ids into keys.
        manifest: conversion manifest; an empty frame where nothing was converted: studies then come from the
            findings tables alone, and without a date of the CT no echo can be paired.
        preprocessed: preprocess table, or an empty frame: `volume` is then null.
        catalogue: tasks, checked.
        sources: formats, checked.
        config: pairing and splits.

    Raises:
        LabelTableError: no table, an unknown source, a table lacks what its source declares, or no table speaks of
            any study of the archive.
        LeakageError: a patient in two splits, or a study under two patients.
    """
    if not set(tables) & set(sources.sources):
        unknown = f" (found: {', '.join(map(str, tables))})" if tables else ""
        raise LabelTableError(
            f"No label table was given{unknown}. Name at least one with `--params=labels.<source>=PATH`; sources "
            f"(parameters_sources.yml): {', '.join(sources.sources)}."
        )
    readings = _read_all(tables, catalogue, sources, pseudonyms)
    images = image_studies(manifest, preprocessed)
    studies, statements = _statements(readings, images, cohorts, pseudonyms, sources, config)
    in_archive = (studies["status"] != "no_image").to_numpy(bool)
    joins = {s.reading.source: Join(_rows_in(s.reading), int((s.said & in_archive).sum())) for s in statements}
    check_joins(joins, int(in_archive.sum()), sources)
    truths = [verdicts(statement.observed, catalogue) for statement in statements]
    merged = _merged([s.precedence for s in statements], truths, catalogue)
    parts = [
        label_table(_rows(s.observed, s.said), _truth_rows(t, s.said), catalogue, s.reading.source)
        for s, t in zip(statements, truths, strict=True)
    ]
    nobody = ~np.any([statement.said for statement in statements], axis=0)
    silent = label_table(
        _rows(Observed(studies["study_key"], {}, {}), nobody), _truth_rows(merged, nobody), catalogue, ""
    ).assign(source=pd.Series(dtype="str"))
    labels = pd.concat([part for part in (*parts, silent) if len(part)], ignore_index=True)
    index = _index(studies, merged, config.splits)
    reasons = REASON_TEXTS[np.stack([merged[task].reason for task in catalogue.ids], axis=1)]
    order = np.argsort(index["study_key"].to_numpy(object), kind="stable")
    counts = {s.reading.source: (*s.reading.counts, *_joined(s, studies)) for s in statements}
    return Harmonized(labels, index.iloc[order].reset_index(drop=True), reasons[order], counts)


def _read_all(
    tables: Mapping[str, pd.DataFrame], catalogue: TaskCatalogue, sources: LabelSourcesConfig, pseudonyms: Pseudonyms
) -> list[Reading]:
    lists = {n for s in sources.sources.values() if isinstance(s, FindingsWide) for n in s.exclude_tables}
    configs = {name: sources.of(name) for name in tables if name not in lists}
    own = {n: {k: t for k, t in tables.items() if k == n or k in lists} for n in configs}
    return [read_source(name, own[name], config, catalogue, pseudonyms) for name, config in configs.items()]


def _statements(
    readings: Sequence[Reading],
    images: pd.DataFrame,
    cohorts: pd.DataFrame,
    pseudonyms: Pseudonyms,
    sources: LabelSourcesConfig,
    config: HarmonizeConfig,
) -> tuple[pd.DataFrame, list[Statement]]:
    """All studies with cohort, sex and age, and what each source says of them."""
    is_echo = {r.source: isinstance(sources.of(r.source), EchoWide) for r in readings}
    findings = [r for r in readings if not is_echo[r.source]]
    studies, matches = join_findings(images, findings)
    studies = with_cohorts(studies, cohorts, pseudonyms)
    refuse_two_patients(studies)
    echoes = [(r, *pair(studies, r, config.linkage)) for r in readings if is_echo[r.source]]
    named = [sex for _, intervals, _ in echoes if "sex" in intervals for sex in _sex_names(intervals["sex"])]
    studies["sex"] = agreed_sex(studies["cohort_sex"], *named, studies["sex"])
    studies["age_years"] = agreed_age(studies["cohort_age_years"], studies["age_years"])
    keys, sex = studies["study_key"], _sex_levels(studies["sex"])
    statements = []
    for reading, row in zip(findings, matches, strict=True):
        aligned = {name: _aligned(intervals, row) for name, intervals in reading.intervals.items()}
        precedence = sources.of(reading.source).precedence
        statements.append(Statement(reading, precedence, row >= 0, Observed(keys, aligned, {})))
    for reading, intervals, gaps in echoes:
        said = studies["patient_key"].isin(reading.rows["patient_key"]).to_numpy(bool)
        observed = Observed(keys, intervals | {"sex": sex}, gaps)
        statements.append(Statement(reading, sources.of(reading.source).precedence, said, observed))
    return studies, statements


def _aligned(intervals: Intervals, row: NDArray[np.intp]) -> Intervals:
    """Intervals per study; row: the reading's row for each study, -1 = none."""
    if not len(intervals):
        return Intervals.unknown(len(row), Reason.NOT_MEASURED)
    return intervals.take(np.maximum(row, 0)).because(row < 0, Reason.NOT_MEASURED)


def _sex_names(sex: Intervals) -> tuple["pd.Series[str]", "pd.Series[str]"]:
    """F, M or null twice: the two columns differ where the examinations of a patient contradict each other."""
    name = pd.Series(sex.low).map({0.0: "F", 1.0: "M"}).astype("str")
    conflict = pd.Series(sex.reason == Reason.SOURCE_CONFLICT)
    return name.mask(conflict, "F"), name.mask(conflict, "M")


def _sex_levels(sex: "pd.Series[str]") -> Intervals:
    known = sex.notna().to_numpy()
    level = (sex == "M").to_numpy(bool).astype(np.float64)
    closed = np.zeros(len(sex), bool)
    stated = Intervals(level, level, closed, closed, np.full(len(sex), Reason.MEASURED, np.int8))
    return stated.because(~known, Reason.NOT_MEASURED)


def _merged(
    precedences: Sequence[int], truths: Sequence[Mapping[str, Truth]], catalogue: TaskCatalogue
) -> dict[str, Truth]:
    """One truth per task: of the highest precedence that knows; equals that contradict are a source conflict."""
    merged = {}
    for task in catalogue.ids:
        parts = [truth[task] for truth in truths]
        n = len(parts[0].true)
        true, false, conflict = (np.zeros(n, bool) for _ in range(3))
        reason = np.max([part.reason for part in parts], axis=0)
        known_reason = np.min([part.reason for part in parts], axis=0)
        for precedence in sorted(set(precedences), reverse=True):
            same = [part for part, p in zip(parts, precedences, strict=True) if p == precedence]
            is_true, is_false = (np.any([getattr(p, side) for p in same], axis=0) for side in ("true", "false"))
            open_ = ~(true | false | conflict)
            conflict |= open_ & is_true & is_false
            true |= open_ & is_true & ~is_false
            false |= open_ & is_false & ~is_true
        # a known label has one of the lowest reasons, an unknown one the most telling of all sources
        unknown_reason = np.where(conflict, Reason.SOURCE_CONFLICT, reason)
        merged[task] = Truth(true, false, np.where(true | false, known_reason, unknown_reason).astype(np.int8))
    return merged


def _index(studies: pd.DataFrame, merged: Mapping[str, Truth], config: SplitConfig) -> pd.DataFrame:
    matrix = pd.DataFrame({task: int8(truth.true, truth.known) for task, truth in merged.items()})
    unplaced = studies["cohort"].isna().to_numpy()
    note = np.where(unplaced, "NOT_IN_COHORTS", "")
    reason = studies["reason"].fillna("").to_numpy(object)
    both = np.where((reason != "") & unplaced, reason + ";" + note, reason + note)
    index = studies.assign(split=assign_splits(studies, matrix, config), reason=pd.Series(both, dtype="str"))
    if unplaced.any():
        logger.warning("%d studies are not in the cohorts table: they keep their row, but no split", unplaced.sum())
    return pd.concat([index[list(INDEX_COLUMNS)], matrix], axis=1)


def _rows(observed: Observed, rows: NDArray[np.bool_]) -> Observed:
    return Observed(
        observed.study_key[rows].reset_index(drop=True),
        {name: intervals.take(rows) for name, intervals in observed.intervals.items()},
        {name: gap[rows] for name, gap in observed.gap_days.items()},
    )


def _truth_rows(truths: Mapping[str, Truth], rows: NDArray[np.bool_]) -> dict[str, Truth]:
    return {task: Truth(t.true[rows], t.false[rows], t.reason[rows]) for task, t in truths.items()}


def _rows_in(reading: Reading) -> int:
    return sum(count for item, reason, count in reading.counts if (item, reason) == ("rows", "in"))


def _joined(statement: Statement, studies: pd.DataFrame) -> list[Count]:
    """How much of a source's table found its study."""
    if "accession_key" in statement.reading.rows.columns:
        alone = int((studies["status"].to_numpy(object)[statement.said] == "no_image").sum())
        return [("studies", "matched", int(statement.said.sum()) - alone), ("studies", "without_image", alone)]
    known = statement.reading.rows["patient_key"].isin(studies["patient_key"])
    return [("examinations", "matched", int(known.sum())), ("examinations", "patient_without_ct", int((~known).sum()))]
