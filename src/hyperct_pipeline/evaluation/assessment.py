"""Every number of the assessment as a table: per cohort and task, with counts, intervals and a status.

A number that the data cannot define is NaN beside its counts and status; it is never 0 or 0.5.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from hyperct_pipeline.errors import ConfigError
from hyperct_pipeline.metrics import bootstrap, calibration, discrimination, operating_point

ALL = "all"  # the cohort or subgroup that is the whole table
MACRO = {"radiological": "macro_radiological", "cardiac": "macro_cardiac", ALL: "macro_all"}
MACRO_RULE = (
    "Mean over the tasks of the group in which both classes are present; undefined tasks are left out, never "
    "counted as 0 or 0.5. Interval: percentiles over patients resampled jointly for all tasks."
)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class AssessConfig:
    """What is assessed and how finely."""

    model: str = "hyperct"  # name of the primary model in the tables
    split: str = "test"  # split that is assessed
    confidence_level: float = Field(default=0.95, gt=0.0, lt=1.0)
    bootstrap_draws: int = Field(default=200, ge=1)  # patient-clustered resamples
    seed: int = 0  # of the resampling
    thresholds_percent: tuple[int, int] = (5, 80)  # first and last decision threshold, steps of 1 %
    decision_cohorts: tuple[str, ...] = ()  # drawn; none: those that start with prospective
    decision_group: str = "cardiac"  # task group whose decision curves are drawn
    reliability_bins: int = Field(default=10, ge=2)  # bins of equal counts in the calibration figure

    def __post_init__(self) -> None:
        low, high = self.thresholds_percent
        if not 0 < low < high < 100:
            raise ValueError(f"thresholds_percent must hold 0 < first < last < 100, found [{low}, {high}]")

    @property
    def level_text(self) -> str:
        """The confidence level as `95 %`."""
        return f"{100.0 * self.confidence_level:g} %"


def part_text(assessed: pd.DataFrame, config: AssessConfig) -> str:
    """What was assessed, for titles: `test split`, or `whole table` where no row names a split."""
    return "whole table" if assessed["split"].isna().all() else f"{config.split} split"


class Estimate(NamedTuple):
    """One metric of one task; None where undefined."""

    metric: str
    value: float | None
    low: float | None = None
    high: float | None = None
    method: str | None = None


class Known(NamedTuple):
    """The studies of a task whose label is known, as arrays (n,)."""

    label: NDArray[np.int8]
    probability: NDArray[np.float64]
    calibrated: NDArray[np.float64]
    patient: NDArray[np.object_]
    n_unknown: int
    threshold: float | None  # on probability, chosen on validation; None: there is none

    @property
    def recalibration_is_flat(self) -> bool:
        """Whether recalibration gave one risk to everybody although the model did not."""
        if not len(self.calibrated) or np.isnan(self.calibrated).any():
            return False
        return bool(np.ptp(self.calibrated) == 0 and np.ptp(self.probability) > 0)

    @property
    def counts(self) -> dict[str, Any]:
        """n, n_pos, n_neg, n_patients, n_unknown and the status they allow."""
        n, n_pos = len(self.label), int(self.label.sum())
        return {
            "n": n,
            "n_pos": n_pos,
            "n_neg": n - n_pos,
            "n_patients": len(set(self.patient)),
            "n_unknown": self.n_unknown,
            "status": discrimination.status(n_pos, n - n_pos),
        }


def known_of(rows: pd.DataFrame) -> Known:
    """Arrays of one task's rows whose label is known."""
    known = rows[rows["label"].notna()]
    thresholds = rows["threshold_youden"].dropna().unique()
    return Known(
        label=known["label"].to_numpy(dtype=np.int8),
        probability=known["probability"].to_numpy(dtype=np.float64),
        calibrated=known["probability_calibrated"].to_numpy(dtype=np.float64, na_value=np.nan),
        patient=known["patient_key"].to_numpy(dtype=object),
        n_unknown=len(rows) - len(known),
        threshold=float(thresholds[0]) if len(thresholds) else None,
    )


def metrics_table(predictions: pd.DataFrame, groups: Mapping[str, str], config: AssessConfig) -> pd.DataFrame:
    """All metrics of every cohort and of all cohorts together (`all`), one row per cohort, task and metric.

    Args:
        predictions: as `predictions.checked_predictions` returns it, already one split.
        groups: task -> radiological or cardiac, in the order of the tables.

    Returns:
        model, cohort, subgroup, task, group, metric, value, ci_low, ci_high, ci_method, n, n_pos, n_neg,
        n_patients, n_unknown, status. Macro rows have tasks of their own (`MACRO`) and the rule `MACRO_RULE`.

    Raises:
        ConfigError: the table holds a task that the catalogue does not know.
    """
    tasks = known_tasks(predictions, groups)
    rows: list[dict[str, Any]] = []
    for cohort, part in cohorts_of(predictions):
        place = {"model": config.model, "cohort": cohort, "subgroup": ALL}
        for task in tasks:
            known = known_of(part[part["task"] == task])
            for estimate in task_estimates(known, config.confidence_level):
                rows.append(place | {"task": task, "group": groups[task]} | _cell(estimate) | known.counts)
        rows += [place | row for row in macro_rows(part, tasks, groups, config)]
    # a column of None alone would be of type object, and not a number that is missing
    return pd.DataFrame(rows).astype({"value": "float64", "ci_low": "float64", "ci_high": "float64"})


def known_tasks(predictions: pd.DataFrame, groups: Mapping[str, str]) -> list[str]:
    """Tasks of the table in the order of the catalogue.

    Raises:
        ConfigError: a task is not in the catalogue.
    """
    found = set(predictions["task"])
    if strange := sorted(found - set(groups)):
        raise ConfigError(f"predictions hold tasks that task_catalogue does not know: {strange}")
    return [task for task in groups if task in found]


def cohorts_of(predictions: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The whole table as `all`, then every cohort; only `all` where there are no cohorts."""
    yield ALL, predictions
    for cohort in sorted(set(predictions["cohort"].dropna()) - {ALL}):
        yield str(cohort), predictions[(predictions["cohort"] == cohort).fillna(False)]


def task_estimates(known: Known, level: float) -> Iterator[Estimate]:
    """Metrics of one task; those of the recalibrated probability carry the suffix `_recalibrated`."""
    label, probability, calibrated = known.label, known.probability, known.calibrated
    area = discrimination.auroc_interval(label, probability, known.patient, level)
    if area is None:
        yield Estimate("auc", None)
    else:
        yield Estimate("auc", *area)
    yield Estimate("auprc", discrimination.auprc(label, probability))
    for percent in (90, 95):
        value = discrimination.sensitivity_at_specificity(label, probability, percent / 100.0)
        yield Estimate(f"sens_at_spec_{percent}", value)
    yield Estimate("prevalence", float(label.mean()) if len(label) else None)
    yield from threshold_estimates(known, level)
    yield from calibration_estimates(label, probability)
    if len(calibrated) and not np.isnan(calibrated).any():
        yield from calibration_estimates(label, calibrated, "_recalibrated")


def threshold_estimates(known: Known, level: float) -> Iterator[Estimate]:
    """The threshold chosen on validation, and what calling `probability >= threshold` positive does here.

    Intervals are Wilson's. Where a share is undefined, the method says why: no threshold, or nobody to share.
    """
    yield Estimate("threshold_youden", known.threshold)
    if known.threshold is None:
        for metric in ("sensitivity", "specificity", "ppv", "npv"):
            yield Estimate(metric, None, method="undefined_no_threshold")
        return
    calls = operating_point.calls_at(known.label, known.probability, known.threshold)
    for metric, right, wrong, nobody in (
        ("sensitivity", calls.true_positive, calls.false_negative, "no_positives"),
        ("specificity", calls.true_negative, calls.false_positive, "no_negatives"),
        ("ppv", calls.true_positive, calls.false_positive, "none_called"),
        ("npv", calls.true_negative, calls.false_negative, "all_called"),
    ):
        share = operating_point.wilson(right, right + wrong, level)
        if share is None:
            yield Estimate(metric, None, method=f"undefined_{nobody}" if len(known.label) else "undefined_no_labels")
        else:
            yield Estimate(metric, *share, method="wilson")


def calibration_estimates(
    label: NDArray[np.int8], probability: NDArray[np.float64], suffix: str = ""
) -> Iterator[Estimate]:
    """How far the probabilities can be taken at their word."""
    line = calibration.calibration_line(label, probability)
    yield Estimate("brier" + suffix, discrimination.brier(label, probability))
    yield Estimate("calibration_slope" + suffix, None if line is None else line.slope)
    yield Estimate("calibration_intercept" + suffix, None if line is None else line.intercept)
    yield Estimate("calibration_in_the_large" + suffix, calibration.calibration_in_the_large(label, probability))
    yield Estimate("oe_ratio" + suffix, calibration.observed_to_expected(label, probability))


def macro_rows(
    part: pd.DataFrame, tasks: list[str], groups: Mapping[str, str], config: AssessConfig
) -> Iterator[dict[str, Any]]:
    """Mean AUROC of each task group by `MACRO_RULE`, and how many tasks it rests on.

    A task that loses a class in a draw is left out of that draw's mean.
    """
    studies = part.drop_duplicates("study_key")
    draws = bootstrap.patient_draws(
        studies["patient_key"].to_numpy(dtype=object),
        config.bootstrap_draws,
        np.random.default_rng(config.seed),
    )
    place = pd.Series(np.arange(len(studies)), index=studies["study_key"].to_numpy(dtype=object))
    areas: dict[str, tuple[float | None, NDArray[np.float64]]] = {}
    for task in tasks:
        rows = part[(part["task"] == task) & part["label"].notna()]
        weights = draws[:, place.loc[rows["study_key"].to_numpy(dtype=object)].to_numpy()]
        label, score = rows["label"].to_numpy(dtype=np.int8), rows["probability"].to_numpy()
        areas[task] = (
            discrimination.auroc(label, score),
            discrimination.weighted_auroc(label, score, weights),
        )
    for group, name in MACRO.items():
        members = [task for task in tasks if group in (ALL, groups[task])]
        of_group = [areas[task] for task in members]
        yield from _macro_cells(name, group, of_group, studies["patient_key"].nunique(), config)


def _macro_cells(
    name: str,
    group: str,
    areas: list[tuple[float | None, NDArray[np.float64]]],
    n_patients: int,
    config: AssessConfig,
) -> Iterator[dict[str, Any]]:
    defined = [(value, draws) for value, draws in areas if value is not None]
    auc = Estimate("auc", None)
    if defined:
        stacked = np.stack([draws for _, draws in defined])  # (tasks, D)
        present = ~np.isnan(stacked)
        counts = present.sum(axis=0)
        means = np.where(present, stacked, 0.0).sum(axis=0) / np.maximum(counts, 1)
        per_draw = np.where(counts > 0, means, np.nan)[:, None]
        low, high = bootstrap.percentile_band(per_draw, config.confidence_level)
        mean = float(np.mean([value for value, _ in defined]))
        auc = Estimate("auc", mean, float(low[0]), float(high[0]), "patient_bootstrap")
    status = {"status": "ok" if defined else "no_labels", "n_patients": n_patients}
    for estimate in (auc, Estimate("n_tasks_defined", len(defined)), Estimate("n_tasks", len(areas))):
        yield {"task": name, "group": group} | _cell(estimate) | status


def _cell(estimate: Estimate) -> dict[str, Any]:
    names = ("metric", "value", "ci_low", "ci_high", "ci_method")
    return dict(zip(names, estimate, strict=True))


def primary_metrics(metrics_full: pd.DataFrame) -> pd.DataFrame:
    """The whole table's numbers, one row per task and metric: task, metric, value, status; then the macro rows.

    The AUROC's interval and the counts are metrics too: auc_ci_low, auc_ci_high, n, n_pos, n_neg, n_unknown,
    n_patients. Macro rows stand under the tasks of `MACRO` and have no counts of studies.
    """
    whole = metrics_full[metrics_full["cohort"] == ALL]
    keys = ["task", "metric", "value", "status"]
    area = whole[whole["metric"] == "auc"]
    limits = [area.assign(metric=f"auc_{c}", value=area[c])[keys] for c in ("ci_low", "ci_high")]
    names = ("n", "n_pos", "n_neg", "n_unknown", "n_patients")
    counts = [area.assign(metric=c, value=area[c].astype("float64"))[keys].dropna(subset="value") for c in names]
    parts = pd.concat([whole[keys], *limits, *counts])
    order = {task: at for at, task in enumerate(whole["task"].unique())}
    return parts.sort_values("task", key=lambda column: column.map(order), kind="stable", ignore_index=True)
