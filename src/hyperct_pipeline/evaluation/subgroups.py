"""The primary model in subgroups of patients: the same numbers, small cells suppressed, differences by bootstrap."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hyperct_pipeline.evaluation.assess_settings import ALL, AssessConfig, SubgroupConfig
from hyperct_pipeline.evaluation.assessment import FLOATS, cell
from hyperct_pipeline.evaluation.part_draws import interval_of
from hyperct_pipeline.evaluation.task_estimates import (
    Estimate,
    auc_estimate,
    in_the_large_estimate,
    prevalence_estimate,
    threshold_estimates,
)
from hyperct_pipeline.evaluation.task_rows import Known, Part, part_of
from hyperct_pipeline.metrics import discrimination
from hyperct_pipeline.metrics.bootstrap import patient_counts, summed
from hyperct_pipeline.metrics.ranking_draws import RankedStudies

SUPPRESSED = "suppressed"
CALLS = ("sensitivity", "specificity")
DIFFERENCE_COLUMNS = (
    "subgroup", "level", "reference", "task", "group", "metric", "value", "value_reference", "difference", "ci_low",
    "ci_high", "ci_method",
)  # fmt: skip


def levels_of(predictions: pd.DataFrame, column: str, config: SubgroupConfig) -> pd.Series:
    """The level of each row, as text; unknown is missing. Ages and thicknesses fall into bands [low, high)."""
    if column in ("age_years", "slice_thickness_mm"):
        bands = config.age_bands if column == "age_years" else config.thickness_bands_mm
        return _banded(predictions[column], bands)
    levels = predictions[column].astype("string")
    studies = levels.groupby(predictions["study_key"]).first().value_counts()
    kept = set(studies.index[: config.max_levels])
    return levels.where(levels.isin(kept) | levels.isna(), "other")


def _banded(values: pd.Series, bands: tuple[float, ...]) -> pd.Series:
    names = [f"< {bands[0]:g}", *(f"{a:g} to < {b:g}" for a, b in itertools.pairwise(bands))]
    cut = pd.cut(values.astype("float64"), [-np.inf, *bands, np.inf], right=False, labels=[*names, f">= {bands[-1]:g}"])
    return cut.astype("string")


def subgroup_tables(
    predictions: pd.DataFrame, groups: Mapping[str, str], config: AssessConfig
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows for the metrics table, and differences of each level from the largest one.

    Metrics: auc, calibration_in_the_large, prevalence, and sensitivity and specificity at the global threshold, with
    `subgroup` such as `sex: F` and cohort `all`. A cell with fewer than `subgroups.min_class_count` positives or
    negatives is suppressed, and the next smallest beside a single such cell (`suppressed_levels`): values and counts
    are missing. Columns that the table lacks or that have a single level are left out. Differences
    (`DIFFERENCE_COLUMNS`) are of auc, sensitivity, specificity; their limits are percentiles over patients resampled
    jointly, since a patient may have studies in several levels.
    """
    rows: list[dict[str, Any]] = []
    differences: list[dict[str, Any]] = []
    counts: NDArray[np.int32] | None = None
    for column in config.subgroups.columns:
        if column not in predictions:
            continue
        level = levels_of(predictions, column, config.subgroups)
        found = level.groupby(predictions["study_key"]).first().value_counts()
        if len(found) < 2:
            continue
        if counts is None:
            n_patients = predictions["patient_key"].nunique()
            counts = patient_counts(n_patients, config.bootstrap_draws, np.random.default_rng(config.seed))
        parts = level_parts(predictions, level, list(map(str, found.index)), groups)
        name = column.removesuffix("_years").removesuffix("_mm")
        unknown = part_of(predictions[level.isna()], ALL, list(groups))
        suppressed = {task: suppressed_levels(parts, unknown, task, config) for task in groups}
        rows += _level_rows(name, parts, suppressed, groups, config)
        differences += _differences(name, parts, suppressed, groups, counts, config)
    metrics = pd.DataFrame(rows)
    table = pd.DataFrame(differences, columns=list(DIFFERENCE_COLUMNS))
    numbers = ("value", "value_reference", "difference", "ci_low", "ci_high")
    return metrics.astype(FLOATS) if rows else metrics, table.astype(dict.fromkeys(numbers, "float64"))


def level_parts(
    predictions: pd.DataFrame, level: pd.Series, levels: list[str], groups: Mapping[str, str]
) -> dict[str, Part]:
    """Arrays of each level, patients numbered as in the whole table."""
    number = pd.factorize(predictions["patient_key"])[0]
    numbered = predictions.assign(patient_number=number)
    return {name: part_of(numbered[(level == name).fillna(False)], ALL, list(groups)) for name in levels}


def _is_small(known: Known, config: AssessConfig) -> bool:
    n_pos = int(known.label.sum())
    return min(n_pos, len(known.label) - n_pos) < config.subgroups.min_class_count


def _is_inhabited(known: Known) -> bool:
    return bool(len(known.label) + known.n_unknown)


def suppressed_levels(parts: Mapping[str, Part], unknown: Part, task: str, config: AssessConfig) -> set[str]:
    """Levels of a column whose cell of a task is not shown.

    Those that are too small. Studies whose level is unknown are a cell, too, that is never shown. Where a single cell
    with anybody in it is hidden, and it is small, the next smallest level goes too: the single one could be had by
    subtracting the others from the row of the whole table (complementary suppression, Hundepool et al., Statistical
    Disclosure Control, 2012).

    Args:
        parts: level -> its studies.
        unknown: the studies whose level is unknown.
        task: a task.
        config: the smallest count of a class that is shown.
    """
    cells = {level: part.tasks[task] for level, part in parts.items()}
    small = {level for level, known in cells.items() if _is_small(known, config)}
    hidden = [known for known in (unknown.tasks[task], *(cells[level] for level in small)) if _is_inhabited(known)]
    others = [level for level in cells if level not in small]
    if len(hidden) == 1 and _is_small(hidden[0], config) and others:
        small.add(min(others, key=lambda level: len(cells[level].label)))
    return small


def _level_rows(
    name: str,
    parts: Mapping[str, Part],
    suppressed: Mapping[str, set[str]],
    groups: Mapping[str, str],
    config: AssessConfig,
) -> Iterator[dict[str, Any]]:
    hidden = {"n": None, "n_pos": None, "n_neg": None, "n_patients": None, "n_unknown": None, "status": SUPPRESSED}
    for level, part in parts.items():
        for task, known in part.tasks.items():
            place = {"model": config.model, "cohort": ALL, "subgroup": f"{name}: {level}", "task": task}
            small = level in suppressed[task]
            for found in _estimates(known, config):
                shown = Estimate(found.metric, None, method=SUPPRESSED) if small else found
                yield place | {"group": groups[task]} | cell(shown) | (hidden if small else known.counts)


def _estimates(known: Known, config: AssessConfig) -> Iterator[Estimate]:
    level, risk = config.confidence_level, known.probability
    yield auc_estimate(known, risk, level)
    yield in_the_large_estimate(known, risk, level)
    yield prevalence_estimate(known)
    yield from (e for e in threshold_estimates(known, level) if e.metric in CALLS)


def _differences(
    name: str,
    parts: Mapping[str, Part],
    suppressed: Mapping[str, set[str]],
    groups: Mapping[str, str],
    counts: NDArray[np.int32],
    config: AssessConfig,
) -> Iterator[dict[str, Any]]:
    """Each level against the first, which has most studies; suppressed cells have no difference."""
    reference, *others = parts
    for task in groups:
        base = parts[reference].tasks[task]
        if reference in suppressed[task]:
            continue
        of_base = _level_draws(base, counts)
        for level in (level for level in others if level not in suppressed[task]):
            known = parts[level].tasks[task]
            place = {"subgroup": name, "level": level, "reference": reference, "task": task, "group": groups[task]}
            for metric, (value, draws) in _level_draws(known, counts).items():
                value_reference, draws_reference = of_base[metric]
                low, high, method = interval_of(draws - draws_reference, config.confidence_level)
                yield place | {
                    "metric": metric,
                    "value": value,
                    "value_reference": value_reference,
                    "difference": value - value_reference,
                    "ci_low": low,
                    "ci_high": high,
                    "ci_method": method,
                }


def _level_draws(known: Known, counts: NDArray[np.int32]) -> dict[str, tuple[float, NDArray[np.float64]]]:
    """Value and draws (D,) of each metric that is compared; calls only where there is a threshold."""
    area = discrimination.auroc(known.label, known.probability)
    assert area is not None  # both classes are present, or the cell were suppressed
    ranked = RankedStudies(known.label, known.probability, known.patient).draws(counts)
    found = {"auc": (area, ranked.auc)}
    threshold = known.thresholds["threshold_youden"]
    if threshold is not None:
        called, positive = known.probability >= threshold, known.label == 1
        right = np.stack([called & positive, ~called & ~positive], axis=1).astype(np.float64)
        sums = summed(right, known.patient, counts)
        for at, (metric, side, n) in enumerate(
            zip(CALLS, (positive, ~positive), (ranked.n_pos, ranked.n_neg), strict=True)
        ):
            share = sums[:, at] / np.where(n > 0, n, np.nan)
            found[metric] = (float(right[:, at].sum() / side.sum()), share)
    return found
