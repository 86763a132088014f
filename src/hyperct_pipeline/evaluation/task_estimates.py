"""The numbers of one task as estimates with intervals: discrimination, calls at fixed thresholds, calibration."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hyperct_pipeline.evaluation.assess_settings import AssessConfig
from hyperct_pipeline.evaluation.part_draws import ScoreDraws, metric_interval
from hyperct_pipeline.evaluation.task_rows import Known
from hyperct_pipeline.metrics import calibration, calibration_intervals, discrimination, operating_point
from hyperct_pipeline.metrics.discrimination import Interval


class Estimate(NamedTuple):
    """One metric of one task; None where undefined, with the reason as the method where there is one."""

    metric: str
    value: float | None
    low: float | None = None
    high: float | None = None
    method: str | None = None


def discrimination_estimates(
    known: Known, score: NDArray[np.float64], draws: ScoreDraws, config: AssessConfig
) -> Iterator[Estimate]:
    """AUROC with Obuchowski's interval, AUPRC beside the prevalence, sensitivity at two specificities."""
    level = config.confidence_level
    yield auc_estimate(known, score, level)
    yield _resampled("auprc", discrimination.auprc(known.label, score), draws, level, known)
    yield prevalence_estimate(known)
    for percent in (90, 95):
        value = discrimination.sensitivity_at_specificity(known.label, score, percent / 100.0)
        yield _resampled(f"sens_at_spec_{percent}", value, draws, level, known)


def auc_estimate(known: Known, score: NDArray[np.float64], level: float) -> Estimate:
    """AUROC with Obuchowski's interval."""
    return estimate("auc", discrimination.auroc_interval(known.label, score, known.patient, level), _classes(known))


def prevalence_estimate(known: Known) -> Estimate:
    """Share of positives among the known labels."""
    if not len(known.label):
        return Estimate("prevalence", None, method="undefined_no_labels")
    return Estimate("prevalence", float(known.label.mean()))


def in_the_large_estimate(known: Known, probability: NDArray[np.float64], level: float, suffix: str = "") -> Estimate:
    """Calibration in the large with its sandwich interval."""
    found = calibration_intervals.in_the_large_interval(known.label, probability, known.patient, level)
    reason = None if found else calibration.undefined_in_the_large(known.label, probability)
    return estimate("calibration_in_the_large" + suffix, found, f"undefined_{reason}")


def threshold_estimates(known: Known, level: float) -> Iterator[Estimate]:
    """Both thresholds of validation, and what calling `probability >= threshold` positive does here.

    Metrics of the Youden threshold carry plain names, those of the target sensitivity the suffix `_at_target`.
    Intervals are Wilson's. Where a share is undefined, the method says why: no threshold, or nobody to share.
    """
    for name, suffix in (("threshold_youden", ""), ("threshold_target_sensitivity", "_at_target")):
        threshold = known.thresholds[name]
        yield Estimate(name, threshold, method="undefined_no_threshold" if threshold is None else None)
        if threshold is None:
            for metric in ("sensitivity", "specificity", "ppv", "npv", "f1"):
                yield Estimate(metric + suffix, None, method="undefined_no_threshold")
        else:
            yield from _calls(known, threshold, level, suffix)


def _calls(known: Known, threshold: float, level: float, suffix: str) -> Iterator[Estimate]:
    calls = operating_point.calls_at(known.label, known.probability, threshold)
    for metric, right, wrong, nobody in (
        ("sensitivity", calls.true_positive, calls.false_negative, "no_positives"),
        ("specificity", calls.true_negative, calls.false_positive, "no_negatives"),
        ("ppv", calls.true_positive, calls.false_positive, "none_called"),
        ("npv", calls.true_negative, calls.false_negative, "all_called"),
    ):
        yield _share(metric + suffix, operating_point.wilson(right, right + wrong, level), nobody, known)
    yield _share("f1" + suffix, operating_point.f1_interval(calls, level), "no_positives_none_called", known)


def _share(metric: str, share: operating_point.Proportion | None, nobody: str, known: Known) -> Estimate:
    if share is None:
        return Estimate(metric, None, method=f"undefined_{nobody}" if len(known.label) else "undefined_no_labels")
    return Estimate(metric, *share, method="wilson")


def calibration_estimates(
    known: Known, probability: NDArray[np.float64], draws: ScoreDraws, config: AssessConfig, suffix: str = ""
) -> Iterator[Estimate]:
    """How far the probabilities can be taken at their word."""
    level, label, patient = config.confidence_level, known.label, known.patient
    yield _resampled("brier", discrimination.brier(label, probability), draws, level, known, suffix)
    line = calibration_intervals.line_intervals(label, probability, patient, level)
    slope, intercept = line if line else (None, None)
    reason = f"undefined_{None if line else calibration.undefined_line(label, probability)}"
    yield estimate("calibration_slope" + suffix, slope, reason)
    yield estimate("calibration_intercept" + suffix, intercept, reason)
    yield in_the_large_estimate(known, probability, level, suffix)
    ratio = calibration_intervals.observed_to_expected_interval(label, probability, patient, level)
    yield estimate("oe_ratio" + suffix, ratio, "undefined_no_risk" if len(label) else "undefined_no_labels")
    error = calibration.expected_calibration_error(label, probability, config.ece_bins)
    yield Estimate("ece" + suffix, error, method="undefined_no_labels" if error is None else None)


def estimate(metric: str, interval: Interval | None, reason: str) -> Estimate:
    """An interval under its metric's name, or the metric without a value and why."""
    return Estimate(metric, None, method=reason) if interval is None else Estimate(metric, *interval)


def _classes(known: Known) -> str:
    """Why a ranking is undefined."""
    return "undefined_one_class" if len(known.label) else "undefined_no_labels"


def _resampled(
    metric: str, value: float | None, draws: ScoreDraws, level: float, known: Known, suffix: str = ""
) -> Estimate:
    if value is None:
        return Estimate(metric + suffix, None, method=_classes(known))
    return Estimate(metric + suffix, value, *metric_interval(metric, value, draws.metrics[metric], level))
