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


def harmonization_report(result: Harmonized, catalogue: TaskCatalogue) -> pd.DataFrame:
    """Counts as rows of section, item, split, reason, count.

    section `source`: item = source or source.quantity, reason = what happened to rows or cells. section `task`:
    item = task, reason = 1, 0 or why unknown, over all studies. section `split`: the same per split, with reason
    positive, negative or unknown. Tasks without both classes are kept; they are logged as a warning.
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
    _warn_of_lacking_classes(result.index, catalogue)
    return pd.DataFrame(rows, columns=list(REPORT_COLUMNS)).astype({"count": "int64"})


def cohort_flow(index: pd.DataFrame, catalogue: TaskCatalogue) -> pd.DataFrame:
    """One row per cohort: found, converted, accepted, preprocessed, with_known_label, and reasons with counts.

    Each number counts studies of the archive that came at least that far; `without_image` counts studies that only a
    label table names.
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
        }
    )
    flow = steps.groupby("cohort").sum().astype("int64")
    flow["reasons"] = reason.groupby(steps["cohort"]).agg(_counted)
    return flow.reset_index()


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
