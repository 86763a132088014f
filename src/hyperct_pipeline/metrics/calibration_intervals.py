"""Confidence intervals of the calibration numbers, from sandwich variances that sum within patients.

The score of a patient is the sum of the scores of its studies, so that studies of one patient are not taken for
independent. Small-sample factor G/(G - 1) * (n - 1)/(n - k) for G patients, n studies and k parameters, as in
statsmodels and Stata. An interval that the data cannot estimate has None for its limits.

Sources: White, Econometrica 1980;48:817; Liang & Zeger, Biometrika 1986;73:13.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, ndtri

from hyperct_pipeline.metrics.calibration import calibration_in_the_large, calibration_line, to_logit, uncertain
from hyperct_pipeline.metrics.discrimination import Interval, known_labels

METHOD = "patient_sandwich"


def line_intervals(
    label: ArrayLike, probability: ArrayLike, patient: NDArray[np.integer], level: float = 0.95
) -> tuple[Interval, Interval] | None:
    """Calibration slope and intercept with their intervals; None where there is no line."""
    line = calibration_line(label, probability)
    if line is None:
        return None
    positive, x, clusters = _uncertain_studies(label, probability, patient)
    design = np.stack([np.ones_like(x), x], axis=1)
    variance = _sandwich(design, positive, line.intercept + line.slope * x, clusters)
    slope = _normal(line.slope, None if variance is None else variance[1, 1], level)
    return slope, _normal(line.intercept, None if variance is None else variance[0, 0], level)


def in_the_large_interval(
    label: ArrayLike, probability: ArrayLike, patient: NDArray[np.integer], level: float = 0.95
) -> Interval | None:
    """Calibration in the large with its interval; None where it is undefined."""
    shift = calibration_in_the_large(label, probability)
    if shift is None:
        return None
    positive, x, clusters = _uncertain_studies(label, probability, patient)
    variance = _sandwich(np.ones((len(x), 1)), positive, shift + x, clusters)
    return _normal(shift, None if variance is None else variance[0, 0], level)


def observed_to_expected_interval(
    label: ArrayLike, probability: ArrayLike, patient: NDArray[np.integer], level: float = 0.95
) -> Interval | None:
    """Observed over expected, its interval on the log scale; limits None without positives."""
    positive, values = known_labels(label), np.asarray(probability, dtype=np.float64)
    expected = float(values.sum())
    if expected <= 0:
        return None
    ratio = float(positive.sum()) / expected
    excess = np.bincount(patient, positive - ratio * values)
    groups = len(np.unique(patient))
    if ratio == 0.0 or groups < 2:
        return Interval(ratio, None, None, "undefined_variance")
    deviation = float(np.sqrt(groups / (groups - 1) * (excess @ excess))) / expected / ratio
    factor = float(np.exp(float(ndtri(0.5 + level / 2.0)) * deviation))
    return Interval(ratio, ratio / factor, ratio * factor, METHOD) if deviation > 0 else _undefined(ratio)


def _uncertain_studies(
    label: ArrayLike, probability: ArrayLike, patient: NDArray[np.integer]
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.integer]]:
    """Labels, logits and patients of the studies that a calibration is fitted to."""
    rest = uncertain(label, probability)
    assert rest is not None  # else there were no calibration
    return known_labels(label)[rest], to_logit(probability)[rest], patient[rest]


def _sandwich(
    design: NDArray[np.float64], positive: NDArray[np.bool_], eta: NDArray[np.float64], patient: NDArray[np.integer]
) -> NDArray[np.float64] | None:
    """Variance of the logistic coefficients (k, k); None with a single patient."""
    n, k = design.shape
    risk = expit(eta)
    scores = design * (positive - risk)[:, None]
    summed = np.stack([np.bincount(patient, column) for column in scores.T], axis=1)
    groups = len(np.unique(patient))
    if groups < 2 or n <= k:
        return None
    bread = np.linalg.inv((design * (risk * (1.0 - risk))[:, None]).T @ design)
    factor = groups / (groups - 1) * (n - 1) / (n - k)
    result: NDArray[np.float64] = factor * bread @ (summed.T @ summed) @ bread
    return result


def _normal(value: float, variance: float | None, level: float) -> Interval:
    if variance is None or not variance > 0:
        return _undefined(value)
    half = float(ndtri(0.5 + level / 2.0)) * float(np.sqrt(variance))
    return Interval(value, value - half, value + half, METHOD)


def _undefined(value: float) -> Interval:
    return Interval(value, None, None, "undefined_variance")
