"""Whether a predicted probability means what it says, and Platt's correction where it does not.

Labels are arrays of known 0 and 1. What the data cannot define is None: with one class there is no slope,
with separated classes the slope is infinite.

Sources: Cox 1958 (slope, intercept); Van Calster et al., BMC Med 2019;17:230; Platt 1999.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import expit, log_expit, logit

from hyperct_pipeline.metrics.discrimination import known_labels

# A probability of exactly 0 or 1 has no logit: where scores are ranked or recalibrated it is read as one in a million
# million. The limit is one of the logit, because 1 - 1e-12 is not that in float64, and 0 and 1 would not be mirrored.
PROBABILITY_FLOOR = 1e-12
FIRST_LONGEST_STEP = 3.0  # change of a logit in the first Newton step; twice as much in each further one
LEAST_INFORMATION = 1e-6  # sum of risk (1 - risk) below which a fitted logit is one of rounding alone
LOGIT_LIMIT = float(np.log1p(-PROBABILITY_FLOOR) - np.log(PROBABILITY_FLOOR))


@dataclass(frozen=True)
class Line:
    """logit(P) = intercept + slope * logit(model)."""

    slope: float
    intercept: float


@dataclass(frozen=True)
class ReliabilityCurve:
    """Mean prediction and observed share per bin, with the bin's number of studies."""

    predicted: NDArray[np.float64]
    observed: NDArray[np.float64]
    n: NDArray[np.int64]
    n_pos: NDArray[np.int64]


def to_logit(probability: ArrayLike) -> NDArray[np.float64]:
    """Logits of probabilities, within +-`LOGIT_LIMIT` for 0 and 1 too."""
    result: NDArray[np.float64] = np.clip(logit(np.asarray(probability, dtype=np.float64)), -LOGIT_LIMIT, LOGIT_LIMIT)
    return result


def uncertain(label: ArrayLike, probability: ArrayLike) -> NDArray[np.bool_] | None:
    """Studies (n,) whose risk is neither 0 nor 1; None where a label contradicts a risk of 0 or 1.

    The logit of such a risk is infinite. Where it is right it says nothing about the line through the others; where it
    is wrong no finite line can be, and numbers would be those of `PROBABILITY_FLOOR`, not of the data.
    """
    positive, x = known_labels(label), to_logit(probability)
    certain = np.abs(x) >= LOGIT_LIMIT
    return None if (certain & ((x > 0) != positive)).any() else ~certain


def calibration_line(label: ArrayLike, probability: ArrayLike) -> Line | None:
    """Calibration slope (1 is right, below 1 overfitted) and intercept of the same, free-slope model.

    None where `undefined_line` has a reason.
    """
    line = _line(known_labels(label), probability)
    return line if isinstance(line, Line) else None


def undefined_line(label: ArrayLike, probability: ArrayLike) -> str | None:
    """Why there is no calibration line; None where there is one.

    `no_labels`, `one_class`, `constant_risk`, `separated` (the classes, by the risk: the slope is infinite),
    `certain_risks` (a risk of 0 or 1 is contradicted, or there is nothing else to fit), `no_information` (the fitted
    risks are 0 or 1 to rounding).
    """
    line = _line(known_labels(label), probability)
    return None if isinstance(line, Line) else line


def _line(positive: NDArray[np.bool_], probability: ArrayLike) -> Line | str:
    """The calibration line, or why there is none."""
    x = to_logit(probability)
    if not _has_both(positive):
        return "one_class" if len(positive) else "no_labels"
    if np.ptp(x) == 0:
        return "constant_risk"
    if _separates(positive, x):
        return "separated"
    return _line_through(positive, x, uncertain(positive, probability))


def _line_through(positive: NDArray[np.bool_], x: NDArray[np.float64], rest: NDArray[np.bool_] | None) -> Line | str:
    """The line through the studies whose risk is neither 0 nor 1 (`rest`, of `uncertain`), or why there is none."""
    if rest is None or not _has_both(positive[rest]) or np.ptp(x[rest]) == 0:
        return "certain_risks"
    if _separates(positive[rest], x[rest]):
        return "separated"
    line = fit_line(x[rest], positive[rest].astype(np.float64))
    if line.slope <= 0 and not rest.all():
        return "certain_risks"  # a line that falls would contradict risks of 0 and 1 that are right
    return line if _information(line.intercept + line.slope * x[rest]) > LEAST_INFORMATION else "no_information"


def calibration_in_the_large(label: ArrayLike, probability: ArrayLike) -> float | None:
    """Intercept with the slope held at 1: 0 is right, above 0 the risks are too low.

    None where `undefined_in_the_large` has a reason.
    """
    shift = _shift(known_labels(label), probability)
    return shift if isinstance(shift, float) else None


def undefined_in_the_large(label: ArrayLike, probability: ArrayLike) -> str | None:
    """Why there is no calibration in the large, in the words of `undefined_line`; None where there is one."""
    shift = _shift(known_labels(label), probability)
    return None if isinstance(shift, float) else shift


def _shift(positive: NDArray[np.bool_], probability: ArrayLike) -> float | str:
    """Calibration in the large, or why there is none."""
    x = to_logit(probability)
    if not _has_both(positive):
        return "one_class" if len(positive) else "no_labels"
    rest = uncertain(positive, probability)
    if rest is None or not _has_both(positive[rest]):
        return "certain_risks"
    shift = fit_intercept(x[rest], float(positive[rest].sum()))
    return shift if _information(shift + x[rest]) > LEAST_INFORMATION else "no_information"


def _has_both(positive: NDArray[np.bool_]) -> bool:
    return bool(positive.any() and not positive.all())


def _information(eta: NDArray[np.float64]) -> float:
    """Sum of risk (1 - risk): what the studies say about an intercept."""
    risk = expit(eta)
    return float((risk * (1.0 - risk)).sum())


def expected_calibration_error(label: ArrayLike, probability: ArrayLike, n_bins: int = 10) -> float | None:
    """Mean distance of predicted and observed over bins of equal width, weighted by their studies.

    Biased upwards in small samples, so read it beside n (Guo et al., ICML 2017). None without studies.
    """
    positive, values = known_labels(label), np.asarray(probability, dtype=np.float64)
    if not len(values):
        return None
    place = np.minimum((values * n_bins).astype(np.int64), n_bins - 1)
    excess = np.bincount(place, values - positive, minlength=n_bins)
    return float(np.abs(excess).sum() / len(values))


def reliability_curve(label: ArrayLike, probability: ArrayLike, n_bins: int = 10) -> ReliabilityCurve:
    """Studies sorted by prediction and cut into at most n_bins bins of (nearly) equal counts.

    Equal predictions stay in one bin, that of the middle one of them: cut apart, they would make a curve of the order
    of the rows. A constant prediction therefore gives one bin, and few distinct ones give fewer and unequal bins.
    """
    positive, values = known_labels(label), np.asarray(probability, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    cut = np.repeat(np.arange(n_bins), [part.size for part in np.array_split(order, n_bins)])
    _, first, counts = np.unique(values[order], return_index=True, return_counts=True)
    place = np.repeat(cut[first + (counts - 1) // 2], counts) if len(values) else cut
    bins = [order[place == at] for at in np.unique(place)]
    return ReliabilityCurve(
        predicted=np.array([values[part].mean() for part in bins], dtype=np.float64),
        observed=np.array([positive[part].mean() for part in bins], dtype=np.float64),
        n=np.array([part.size for part in bins], dtype=np.int64),
        n_pos=np.array([positive[part].sum() for part in bins], dtype=np.int64),
    )


def platt_line(label: ArrayLike, score_logit: ArrayLike) -> Line | None:
    """Platt's recalibration with a slope of at least 0; None with one class.

    Platt's targets (N+ + 1)/(N+ + 2) and 1/(N- + 2) keep the line finite when the classes are separated. A
    negative slope would reverse the ranking because of a chance finding on validation: the best line
    without reversal is then the flat one, which gives everybody the prevalence.
    """
    positive, x = known_labels(label), np.asarray(score_logit, dtype=np.float64)
    n_pos, n_neg = int(positive.sum()), int((~positive).sum())
    if min(n_pos, n_neg) == 0:
        return None
    targets = np.where(positive, (n_pos + 1.0) / (n_pos + 2.0), 1.0 / (n_neg + 2.0))
    if np.ptp(x) > 0:
        line = fit_line(x, targets)
        if line.slope > 0:
            return line
    return Line(0.0, float(logit(targets.mean())))


def intercept_line(label: ArrayLike, score_logit: ArrayLike) -> Line | None:
    """Correction of the mean risk alone, slope 1: what few positives can carry. None with one class."""
    positive, x = known_labels(label), np.asarray(score_logit, dtype=np.float64)
    if not positive.any() or positive.all():
        return None
    return Line(1.0, fit_intercept(x, float(positive.sum())))


def apply_line(line: Line, score_logit: ArrayLike) -> NDArray[np.float64]:
    """Recalibrated probabilities."""
    result: NDArray[np.float64] = expit(line.intercept + line.slope * np.asarray(score_logit, dtype=np.float64))
    return result


def _separates(positive: NDArray[np.bool_], x: NDArray[np.float64]) -> bool:
    """One threshold splits the classes (equality included): the maximum likelihood slope is infinite."""
    pos, neg = x[positive], x[~positive]
    return bool(neg.max() <= pos.min() or pos.max() <= neg.min())


def fit_intercept(x: NDArray[np.float64], n_pos: float) -> float:
    """The a for which sum(expit(a + x)) equals n_pos; monotone in a, so bracketed by the extremes of x."""
    prior = float(logit(n_pos / len(x)))
    low, high = prior - float(x.max()) - 1.0, prior - float(x.min()) + 1.0
    return float(brentq(lambda a: float(expit(a + x).sum()) - n_pos, low, high, xtol=1e-12))


def fit_line(x: NDArray[np.float64], target: NDArray[np.float64]) -> Line:
    """Maximum likelihood of target in [0, 1] on x by Newton steps that may only climb.

    Raises:
        ArithmeticError: no maximum within 200 steps (the caller has excluded the data that have none).
    """
    mean, spread = float(x.mean()), float(x.std())
    z = (x - mean) / spread  # Newton is well scaled on standardised scores
    beta = np.array([logit(target.mean()), 0.0])
    design = np.stack([np.ones_like(z), z], axis=1)
    current, longest = _log_likelihood(design @ beta, target), FIRST_LONGEST_STEP
    for _ in range(200):
        p = expit(design @ beta)
        gradient = design.T @ (target - p)
        hessian = (design * (p * (1.0 - p))[:, None]).T @ design
        step = np.linalg.solve(hessian, gradient)
        # a long first step may climb to where all risks are 0 or 1 to rounding, and no step leads away from there
        step *= longest / max(float(np.abs(design @ step).max()), longest)
        longest *= 2.0  # one score far from the others needs a logit far from theirs
        while (proposed := _log_likelihood(design @ (beta + step), target)) < current - 1e-12 * len(x):
            step = step / 2.0
        beta, current = beta + step, proposed
        if np.abs(step).max() < 1e-10:
            return Line(float(beta[1] / spread), float(beta[0] - beta[1] * mean / spread))
    raise ArithmeticError(f"logistic fit of {len(x)} studies did not converge")


def _log_likelihood(eta: NDArray[np.float64], target: NDArray[np.float64]) -> float:
    return float((target * log_expit(eta) + (1.0 - target) * log_expit(-eta)).sum())


def isotonic_knots(label: ArrayLike, score: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The least-squares rising step function of label on score, as knots to interpolate between.

    For large validation sets: it follows any shape, and with few studies it follows chance (Zadrozny & Elkan, KDD
    2002). Scores outside the knots keep the value of the nearest one.
    """
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
    fitted.fit(np.asarray(score, dtype=np.float64), known_labels(label).astype(np.float64))
    return fitted.X_thresholds_, fitted.y_thresholds_
