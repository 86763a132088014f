"""Every number of the assessment: per model, cohort and task, with counts, intervals and a status.

A number that the data cannot define is NaN beside its counts and status; it is never 0 or 0.5.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hyperct_pipeline.evaluation.assess_settings import ALL, AssessConfig
from hyperct_pipeline.evaluation.net_benefit import curve_frame
from hyperct_pipeline.evaluation.part_draws import ScoreDraws, metric_interval, score_draws
from hyperct_pipeline.evaluation.task_estimates import (
    Estimate,
    calibration_estimates,
    discrimination_estimates,
    threshold_estimates,
)
from hyperct_pipeline.evaluation.task_rows import Known, Part, parts_of
from hyperct_pipeline.metrics.bootstrap import complete_share, mean_draws, patient_counts

MACRO = {"radiological": "macro_radiological", "cardiac": "macro_cardiac", ALL: "macro_all"}
NO_TASKS = "undefined_no_tasks"
MACRO_METRICS = ("auc", "auprc", "brier")
MACRO_RULE = (
    "Mean over the tasks of the group in which both classes are present; undefined tasks are left out, never "
    "counted as 0 or 0.5. Interval: from patients resampled jointly for all tasks; a task that a resample leaves with "
    "one class is left out of that resample and does not shift it."
)
WITH_INTERVAL = (
    "auc", "auprc", "sens_at_spec_90", "sens_at_spec_95", "sensitivity", "specificity", "ppv", "npv", "f1", "brier",
    "calibration_slope", "calibration_intercept", "calibration_in_the_large", "oe_ratio",
)  # fmt: skip
FLOATS = {"value": "float64", "ci_low": "float64", "ci_high": "float64"}


class Assessment(NamedTuple):
    """metrics: one row per model, cohort, subgroup, task and metric. curves: per model, cohort, task and threshold."""

    metrics: pd.DataFrame
    curves: pd.DataFrame


def assess(predictions: pd.DataFrame, groups: Mapping[str, str], config: AssessConfig) -> Assessment:
    """All metrics and decision curves of every cohort, and of all cohorts together (`all`), of every model.

    One patient bootstrap per cohort serves all its tasks and models.

    Args:
        predictions: as `prediction_checks.checked_predictions` returns it, already one split.
        groups: task -> group, in the order of the tables (`task_rows.groups_of`).

    Returns:
        metrics: model, cohort, subgroup, task, group, metric, value, ci_low, ci_high, ci_method, n, n_pos, n_neg,
        n_patients, n_unknown, status, note. ci_method says why (`undefined_...`) where the value or its limits are
        missing. Macro rows have tasks of their own (`MACRO`) and the rule as note.
        curves: as `net_benefit.curve_frame` describes them, with model and cohort.
    """
    rows: list[dict[str, Any]] = []
    curves: list[pd.DataFrame] = []
    for part in parts_of(predictions, groups):
        counts = patient_counts(part.n_patients, config.bootstrap_draws, np.random.default_rng(config.seed))
        resampled: dict[str, dict[str, ScoreDraws]] = {}
        of_part: list[dict[str, Any]] = []
        for task, known in part.tasks.items():
            place = {"cohort": part.cohort, "subgroup": ALL, "task": task, "group": groups[task]}
            scores = scores_of(known, config.model)
            draws = {model: score_draws(known, score, counts, task, config) for model, score in scores.items()}
            calibrated = _calibrated_draws(known, counts, task, config)
            for model, score in scores.items():
                own = calibrated if model == config.model else None
                found = _estimates(known, score, draws[model], own, model == config.model, config)
                of_part += [{"model": model} | place | cell(e) | known.counts for e in found]
            curves.append(curve_frame(known, scores, draws, calibrated, place, config))
            for model, of in draws.items():
                resampled.setdefault(model, {})[task] = of
        rows += of_part
        for model in resampled:
            rows += [
                {"model": model} | row for row in macro_rows(part, of_part, model, resampled[model], groups, config)
            ]
    # a column of None alone would be of type object, and not a number that is missing
    return Assessment(pd.DataFrame(rows).astype(FLOATS), _ordered(pd.concat(curves, ignore_index=True)))


def scores_of(known: Known, model: str) -> dict[str, NDArray[np.float64]]:
    """Probabilities of every model, the primary one first."""
    return {model: known.probability} | dict(known.rivals)


def _calibrated_draws(known: Known, counts: NDArray[np.int32], task: str, config: AssessConfig) -> ScoreDraws | None:
    return score_draws(known, known.calibrated, counts, task, config) if known.is_recalibrated else None


def _estimates(
    known: Known,
    score: NDArray[np.float64],
    draws: ScoreDraws,
    calibrated: ScoreDraws | None,
    is_primary: bool,
    config: AssessConfig,
) -> Iterator[Estimate]:
    """Metrics of one model; thresholds and recalibration (suffix `_recalibrated`) are those of the primary one."""
    yield from discrimination_estimates(known, score, draws, config)
    if is_primary:
        yield from threshold_estimates(known, config.confidence_level)
    yield from calibration_estimates(known, score, draws, config)
    if calibrated is not None:
        yield from calibration_estimates(known, known.calibrated, calibrated, config, "_recalibrated")


def macro_rows(
    part: Part,
    rows: list[dict[str, Any]],
    model: str,
    draws: Mapping[str, ScoreDraws],
    groups: Mapping[str, str],
    config: AssessConfig,
) -> Iterator[dict[str, Any]]:
    """Mean of each task group by `MACRO_RULE`, and how many tasks it rests on."""
    values = {
        (row["task"], row["metric"]): row["value"]
        for row in rows
        if row["model"] == model and row["metric"] in MACRO_METRICS
    }
    for group, name in MACRO.items():
        members = [task for task in part.tasks if group in (ALL, groups[task])]
        # Brier is defined with one class too; the mean is over the same tasks as that of the AUROC
        defined = [task for task in members if values[task, "auc"] is not None]
        place = {"cohort": part.cohort, "subgroup": ALL, "task": name, "group": group}
        status = {"status": "ok" if defined else "no_labels", "n_patients": part.n_patients, "note": MACRO_RULE}
        for metric in MACRO_METRICS:
            found = Estimate(metric, None, method=NO_TASKS)
            if defined:
                of_tasks = [values[task, metric] for task in defined]
                means = mean_draws(of_tasks, [draws[task].metrics[metric] for task in defined])
                mean = float(np.mean(of_tasks))
                found = Estimate(metric, mean, *metric_interval(metric, mean, means, config.confidence_level))
            yield place | cell(found) | status
        complete = complete_share([draws[task].metrics["auc"] for task in defined]) if defined else None
        for count in (
            Estimate("n_tasks_defined", len(defined)),
            Estimate("n_tasks", len(members)),
            Estimate("share_of_draws_with_all_tasks", complete, method=None if defined else NO_TASKS),
        ):
            yield place | cell(count) | status


def cell(found: Estimate) -> dict[str, Any]:
    """An estimate as columns of the metrics table."""
    names = ("metric", "value", "ci_low", "ci_high", "ci_method")
    return dict(zip(names, found, strict=True))


def _ordered(curves: pd.DataFrame) -> pd.DataFrame:
    first = ["model", "cohort", "task", "group", "threshold"]
    rest = [column for column in curves.columns if column not in (*first, "subgroup")]
    return curves[[*first, *rest]]


def primary_metrics(metrics_full: pd.DataFrame, model: str) -> pd.DataFrame:
    """The primary model's numbers over the whole table, one row per task and metric: task, metric, value, status, note.

    Limits and counts are metrics too: auc_ci_low, auc_ci_high and the like of every metric that has an interval, n,
    n_pos, n_neg, n_unknown, n_patients. Macro rows stand under the tasks of `MACRO` and have no counts of studies. The
    note of a number that is undefined says why, as `ci_method` does in the full table.
    """
    is_primary = (metrics_full["cohort"] == ALL) & (metrics_full["subgroup"] == ALL) & (metrics_full["model"] == model)
    whole = metrics_full[is_primary]
    whole = whole.assign(note=_reasons(whole["value"], whole))
    keys = ["task", "metric", "value", "status", "note"]
    plain = whole["metric"].str.removesuffix("_recalibrated").str.removesuffix("_at_target")
    with_limits = whole[plain.isin(WITH_INTERVAL)]
    limits = [
        with_limits.assign(
            metric=with_limits["metric"] + f"_{limit}",
            value=with_limits[limit],
            note=_reasons(with_limits[limit], with_limits),
        )[keys]
        for limit in ("ci_low", "ci_high")
    ]
    area = metrics_full[is_primary & (metrics_full["metric"] == "auc")]  # a count is never undefined
    names = ("n", "n_pos", "n_neg", "n_unknown", "n_patients")
    counts = [area.assign(metric=c, value=area[c].astype("float64"))[keys].dropna(subset="value") for c in names]
    parts = pd.concat([whole[keys], *limits, *counts])
    order = {task: at for at, task in enumerate(whole["task"].unique())}
    return parts.sort_values("task", key=lambda column: column.map(order), kind="stable", ignore_index=True)


def _reasons(values: pd.Series, rows: pd.DataFrame) -> pd.Series:
    """The notes of rows, and why a value of theirs is missing where they have no note."""
    return rows["note"].where(rows["note"].notna() | values.notna(), rows["ci_method"])


def part_text(assessed: pd.DataFrame, config: AssessConfig) -> str:
    """What was assessed, for titles: `test split`, or `whole table` where no row names a split."""
    return "whole table" if assessed["split"].isna().all() else f"{config.split} split"
