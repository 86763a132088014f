"""Net benefit of acting on a predicted risk (Vickers & Elkin, Med Decis Making 2006;26:565).

Treat when risk >= threshold. Thresholds are k/100 in float64, so that a risk written as 0.35 meets the
threshold 35 %. Labels are arrays of known 0 and 1.

Shape letters: n studies, T thresholds (ascending), D bootstrap draws.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hyperct_pipeline.metrics.bootstrap import percentile_band
from hyperct_pipeline.metrics.discrimination import known_labels


@dataclass(frozen=True)
class DecisionCurve:
    """Net benefit per study, in units of true positives, at each threshold (T,); treating none is zero."""

    thresholds: NDArray[np.float64]
    net_benefit: NDArray[np.float64]
    treat_all: NDArray[np.float64]
    standardized: NDArray[np.float64]  # net benefit over prevalence (1 is perfect), NaN without positives
    low: NDArray[np.float64] | None = None  # patient-clustered percentile band; None: no draws
    high: NDArray[np.float64] | None = None


def percent_thresholds(first: int = 5, last: int = 80) -> NDArray[np.float64]:
    """Thresholds k/100 for k from first to last, both included."""
    return np.arange(first, last + 1, dtype=np.float64) / 100.0


def decision_curve(
    label: ArrayLike,
    risk: ArrayLike,
    thresholds: NDArray[np.float64],
    draws: NDArray[np.int32] | None = None,
    level: float = 0.95,
) -> DecisionCurve:
    """Curve of one model on one task.

    net benefit = TP/n - FP/n * t/(1 - t). Each study is put once into the bin of thresholds it reaches, so
    a draw costs O(n + T).

    Args:
        draws: counts (D, n) of `bootstrap.patient_draws`, for the band.

    Raises:
        ValueError: there are no studies, thresholds do not ascend within (0, 1), or a risk lies outside
            [0, 1].
    """
    positive, values = known_labels(label), np.asarray(risk, dtype=np.float64)
    if not ((np.diff(thresholds) > 0).all() and thresholds.min() > 0 and thresholds.max() < 1):
        raise ValueError("thresholds must ascend within (0, 1)")
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("a risk lies outside [0, 1]")
    if not len(values):
        raise ValueError("no studies with a known label")
    reached = np.searchsorted(thresholds, values, side="right")  # how many thresholds are <= risk
    net_benefit = _net_benefit(positive, reached, thresholds, np.ones(len(values)))
    prevalence = float(positive.mean())
    odds = thresholds / (1.0 - thresholds)
    low = high = None
    if draws is not None:
        low, high = percentile_band(np.stack([_net_benefit(positive, reached, thresholds, w) for w in draws]), level)
    return DecisionCurve(
        thresholds=thresholds,
        net_benefit=net_benefit,
        treat_all=prevalence - (1.0 - prevalence) * odds,
        standardized=net_benefit / prevalence if prevalence > 0 else np.full_like(net_benefit, np.nan),
        low=low,
        high=high,
    )


def _net_benefit(
    positive: NDArray[np.bool_],
    reached: NDArray[np.int64],
    thresholds: NDArray[np.float64],
    weight: NDArray[np.int32] | NDArray[np.float64],
) -> NDArray[np.float64]:
    """Net benefit at each threshold (T,) of a weighted sample; NaN when the weights sum to zero."""
    total = float(weight.sum())
    if total == 0:
        return np.full(len(thresholds), np.nan)
    # a study that reaches k thresholds is treated at the first k of them: sum the bins from above
    size = len(thresholds) + 1
    true_calls, false_calls = (
        np.bincount(reached[side], weights=weight[side], minlength=size)[::-1].cumsum()[::-1][1:]
        for side in (positive, ~positive)
    )
    net: NDArray[np.float64] = (true_calls - false_calls * thresholds / (1.0 - thresholds)) / total
    return net
