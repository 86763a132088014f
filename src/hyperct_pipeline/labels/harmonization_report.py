"""What harmonization did, in numbers: a tidy table of counts, and how many studies of each cohort came how far."""

import logging

import numpy as np
import pandas as pd

from hyperct_pipeline.labels.splits import SPLITS
from hyperct_pipeline.labels.study_index import Harmonized
from hyperct_pipeline.labels.tasks import TaskCatalogue

logger = logging.getLogger(__name__)

REPORT_COLUMNS = ("section", "item", "split", "reason", "count")
NOT_IN_COHORTS = "(not in cohorts table)"


def harmonization_report(result: Harmonized, catalogue: TaskCatalogue, min_positives: int) -> pd.DataFrame:
    """Counts as rows of section, item, split, reason, count.

    section `source`: item = source or source.quantity, reason = what happened to rows or cells. section `task`:
    item = task, reason = 1, 0 or why unknown, over all studies. section `split`: the same per split, with reason
    positive, negative or unknown. section `eligibility`: item = eligible or the reason why not. section
    `few_positives`: tasks with fewer positives in a split than `splits.min_positives`. Tasks without both classes are
    kept; they are logged as a warning.
    """
    rows: list[tuple[str, str, str, str, int]] = []
    for source, counts in result.counts.items():
        rows += [("source", f"{source}.{item}", "", reason, count) for item, reason, count in counts]
    for k, task in enumerate(catalogue.ids):
        label = result.index[task]
        shown = np.where(label.isna(), result.reasons[:, k], label.astype("str").to_numpy(object))
        names, numbers = np.unique(shown.astype(str), return_counts=True)
        rows += [("task", task, "", str(n), int(c)) for n, c in zip(names, numbers, strict=True)]
        for split in SPLITS:
            part = label[(result.index["split"] == split).to_numpy(bool, na_value=False)]
            counted = {"positive": (part == 1).sum(), "negative": (part == 0).sum(), "unknown": part.isna().sum()}
            rows += [("split", task, split, reason, int(count)) for reason, count in counted.items()]
    for reason, count in _exclusions(result.eligibility).items():
        rows.append(("eligibility", str(reason), "", "studies", int(count)))
    rows += [
        ("few_positives", task, split, f"fewer than {min_positives}", n) for task, split, n in _few(rows, min_positives)
    ]
    _warn_of_lacking_classes(result.index, catalogue)
    return pd.DataFrame(rows, columns=list(REPORT_COLUMNS)).astype({"count": "int64"})


def cohort_flow(index: pd.DataFrame, catalogue: TaskCatalogue, eligibility: pd.DataFrame) -> pd.DataFrame:
    """One row per cohort: found, converted, accepted, preprocessed, with_known_label, and reasons with counts;
    eligible, and exclusions with counts.

    Each number counts studies of the archive that came at least that far; `without_image` counts studies that only a
    label table names; `eligible` counts studies of either kind, whose exclusions the table of eligibility holds.
    """
    reason = index["reason"].fillna("")
    imaged = (index["status"] != "no_image").to_numpy(bool)
    volume = index["volume"].notna().to_numpy()
    rejected = reason.str.contains("QUALITY_REJECT").to_numpy(bool)
    after_conversion = volume | rejected | reason.str.contains("EMPTY_VOLUME|NIFTI_UNREADABLE").to_numpy(bool)
    converted = imaged & (after_conversion | (index["status"] == "pending").to_numpy(bool))
    steps = pd.DataFrame(
        {
            "cohort": index["cohort"].fillna(NOT_IN_COHORTS),
            "found": imaged,
            "converted": converted,
            "accepted": converted & ~rejected,
            "preprocessed": volume,
            "with_known_label": volume & index[list(catalogue.ids)].notna().any(axis=1).to_numpy(),
            "without_image": ~imaged,
            "eligible": index["study_key"].map(eligibility.set_index("study_key")["eligible"]).to_numpy(bool),
        }
    )
    flow = steps.groupby("cohort").sum().astype("int64")
    flow["reasons"] = reason.groupby(steps["cohort"]).agg(_counted)
    excluded = index["study_key"].map(eligibility.set_index("study_key")["exclusions"])
    flow["exclusions"] = excluded.groupby(steps["cohort"]).agg(_counted)
    return flow.reset_index()


def unmapped_words_table(result: Harmonized) -> pd.DataFrame:
    """source, item, text, count, patients, readable: texts that stand for nothing known, the most frequent first."""
    parts = [reading.words.assign(source=reading.source) for reading in result.readings]
    table = pd.concat(parts, ignore_index=True)[["source", "item", "text", "count", "patients", "readable"]]
    return table.sort_values(
        ["source", "item", "count", "text"], ascending=[True, True, False, True], ignore_index=True
    )


def conflicts_table(labels: pd.DataFrame) -> pd.DataFrame:
    """study_key, task, source, reason, evidence of every label that is unknown because statements contradict."""
    conflicts = labels[labels["reason"].isin(["alias_conflict", "source_conflict"])]
    return conflicts[["study_key", "task", "source", "reason", "evidence"]].reset_index(drop=True)


def unit_suspicions_table(result: Harmonized) -> pd.DataFrame:
    """source, quantity, column_unit, likely_unit, count: implausible values that another unit would explain."""
    parts = [reading.suspicions.assign(source=reading.source) for reading in result.readings]
    table = pd.concat(parts, ignore_index=True)
    return table[["source", "quantity", "column_unit", "likely_unit", "count"]].astype({"count": "int64"})


def _exclusions(eligibility: pd.DataFrame) -> "pd.Series[int]":
    """Studies by reason of exclusion (a study may have several), and those that are eligible."""
    reasons = eligibility["exclusions"].mask(eligibility["eligible"].astype(bool), "eligible").str.split(";")
    return reasons.explode().value_counts().sort_index()


def _few(rows: list[tuple[str, str, str, str, int]], least: int) -> list[tuple[str, str, int]]:
    """Tasks and splits with too few positives, among the splits that hold any study."""
    used = {split for section, _, split, _, count in rows if section == "split" and count}
    few = [(t, s, n) for section, t, s, reason, n in rows
           if section == "split" and s in used and reason == "positive" and n < least]  # fmt: skip
    if few:
        tasks = ", ".join(sorted({task for task, _, _ in few}))
        logger.warning("Fewer than %d positives in at least one split: %s", least, tasks)
    return few


def _counted(reasons: "pd.Series[str]") -> str:
    codes = reasons[reasons != ""].value_counts().sort_index()
    return ", ".join(f"{code}: {count}" for code, count in codes.items())


def _warn_of_lacking_classes(index: pd.DataFrame, catalogue: TaskCatalogue) -> None:
    counts = {task: (int((index[task] == 1).sum()), int((index[task] == 0).sum())) for task in catalogue.ids}
    if unknown := [task for task, (positive, negative) in counts.items() if not positive + negative]:
        logger.warning("Unknown in all %d studies: %s", len(index), ", ".join(unknown))
    for task, (positive, negative) in counts.items():
        if bool(positive) != bool(negative):
            logger.warning("One class only in %s: %d positive, %d negative", task, positive, negative)
