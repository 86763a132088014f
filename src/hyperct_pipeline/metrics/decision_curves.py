"""Net benefit of acting on a predicted risk (Vickers & Elkin, Med Decis Making 2006;26:565).

Treat when risk >= threshold. Thresholds are k/100 in float64, so that a risk written as 0.35 meets the
threshold 35 %. Labels are arrays of known 0 and 1.

Shape letters: n studies, T thresholds (ascending), D bootstrap draws, S strategies.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hyperct_pipeline.metrics.discrimination import known_labels


@dataclass(frozen=True)
class DecisionCurve:
    """Net benefit per study, in units of true positives, at each threshold (T,); treating none is zero."""

    thresholds: NDArray[np.float64]
    true_calls: NDArray[np.int64]  # studies treated that are positive
    false_calls: NDArray[np.int64]  # studies treated that are negative
    n_pos: int
    n_neg: int

    @property
    def prevalence(self) -> float:
        """Share of positives."""
        return self.n_pos / (self.n_pos + self.n_neg)

    @property
    def net_benefit(self) -> NDArray[np.float64]:
        """TP/n - FP/n * t/(1 - t)."""
        return net_benefit(self.true_calls, self.false_calls, self.n_pos + self.n_neg, self.thresholds)

    @property
    def treat_all(self) -> NDArray[np.float64]:
        """Net benefit of treating everybody."""
        return net_benefit(self.n_pos, self.n_neg, self.n_pos + self.n_neg, self.thresholds)

    @property
    def standardized(self) -> NDArray[np.float64]:
        """Net benefit over prevalence: 1 is perfect; NaN without positives."""
        return self.net_benefit / self.prevalence if self.n_pos else np.full(len(self.thresholds), np.nan)

    @property
    def interventions_avoided(self) -> NDArray[np.float64]:
        """Interventions fewer than under treating all, per 100 studies, at no loss of true positives.

        (net benefit - treat all) / odds * 100 (Vickers et al., BMC Med Inform Decis Mak 2008;8:53).
        """
        return 100.0 * (self.net_benefit - self.treat_all) / odds(self.thresholds)

    def at_prevalence(self, prevalence: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Net benefit of the model and of treating all where a share `prevalence` of the patients is positive.

        Sensitivity and specificity of each threshold are kept, and weighted by the prevalence stated. NaN with one
        class, where one of them is unknown.
        """
        if not self.n_pos or not self.n_neg:
            nothing = np.full(len(self.thresholds), np.nan)
            return nothing, nothing
        counts = (self.n_pos, self.n_neg, self.thresholds, prevalence)
        return (
            net_benefit_at_prevalence(self.true_calls, self.false_calls, *counts),
            net_benefit_at_prevalence(self.n_pos, self.n_neg, *counts),
        )


def percent_thresholds(first: int = 5, last: int = 80) -> NDArray[np.float64]:
    """Thresholds k/100 for k from first to last, both included."""
    return np.arange(first, last + 1, dtype=np.float64) / 100.0


def odds(thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weight of a false call against a true one."""
    return thresholds / (1.0 - thresholds)


def net_benefit(
    true_calls: ArrayLike, false_calls: ArrayLike, n: ArrayLike, thresholds: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(TP - FP * odds) / n, with thresholds on the last axis; NaN where n is 0."""
    total = np.asarray(n, dtype=np.float64)
    benefit = np.asarray(true_calls, dtype=np.float64) - np.asarray(false_calls, dtype=np.float64) * odds(thresholds)
    result: NDArray[np.float64] = benefit / np.where(total > 0, total, np.nan)
    return result


def net_benefit_at_prevalence(
    true_calls: ArrayLike,
    false_calls: ArrayLike,
    n_pos: ArrayLike,
    n_neg: ArrayLike,
    thresholds: NDArray[np.float64],
    prevalence: float,
) -> NDArray[np.float64]:
    """Sensitivity * prevalence - (1 - specificity) * (1 - prevalence) * odds; NaN where a class is absent."""
    positives, negatives = (np.asarray(n, dtype=np.float64) for n in (n_pos, n_neg))
    sensitivity = np.asarray(true_calls) / np.where(positives > 0, positives, np.nan)
    false_rate = np.asarray(false_calls) / np.where(negatives > 0, negatives, np.nan)
    result: NDArray[np.float64] = prevalence * sensitivity - (1.0 - prevalence) * odds(thresholds) * false_rate
    return result


def decision_curve(label: ArrayLike, risk: ArrayLike, thresholds: NDArray[np.float64]) -> DecisionCurve:
    """Curve of one model on one task. Each study is put once into the bin of thresholds it reaches.

    Raises:
        ValueError: there are no studies, thresholds do not ascend within (0, 1), or a risk lies outside [0, 1].
    """
    positive, values = known_labels(label), np.asarray(risk, dtype=np.float64)
    if not ((np.diff(thresholds) > 0).all() and thresholds.min() > 0 and thresholds.max() < 1):
        raise ValueError("thresholds must ascend within (0, 1)")
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("a risk lies outside [0, 1]")
    if not len(values):
        raise ValueError("no studies with a known label")
    reached = np.searchsorted(thresholds, values, side="right")  # how many thresholds are <= risk
    # a study that reaches k thresholds is treated at the first k of them: sum the bins from above
    true_calls, false_calls = (
        np.bincount(reached[side], minlength=len(thresholds) + 1)[::-1].cumsum()[::-1][1:]
        for side in (positive, ~positive)
    )
    n_pos = int(positive.sum())
    return DecisionCurve(thresholds, true_calls, false_calls, n_pos, len(values) - n_pos)


def chance_of_being_best(draws: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of draws in which each strategy has the largest net benefit, (S, T), from (S, D, T).

    Equal strategies share a draw. A draw with NaN is left out; NaN where none is left.
    """
    usable = ~np.isnan(draws).any(axis=0)  # (D, T)
    best = (draws == np.where(usable, draws.max(axis=0), np.nan)).astype(np.float64)
    best /= np.maximum(best.sum(axis=0), 1.0)
    n = usable.sum(axis=0)
    result: NDArray[np.float64] = best.sum(axis=1) / np.where(n > 0, n, np.nan)
    return result


def value_of_perfect_information(draws: NDArray[np.float64]) -> NDArray[np.float64]:
    """Expected net benefit lost by not knowing which strategy is best, (T,), from (S, D, T).

    E[max over strategies] - max over strategies of E (Sadatsafavi et al., Med Decis Making 2022;42:661), over draws.
    """
    usable = ~np.isnan(draws).any(axis=0)
    n = np.where(usable.sum(axis=0) > 0, usable.sum(axis=0), np.nan)
    kept = np.where(usable, draws, 0.0)
    result: NDArray[np.float64] = kept.max(axis=0).sum(axis=0) / n - (kept.sum(axis=1) / n).max(axis=0)
    return np.maximum(result, 0.0)
