"""Ranking metrics and calls of every bootstrap draw at once, from one sort and running sums.

A draw gives each patient a whole weight. With the studies sorted by score once, the weighted number of negatives
below any score is a running sum, and AUROC, average precision, sensitivity at a specificity and the calls at any
threshold are read off the same two sums. A draw costs O(n) instead of O(n log n), and needs no copy of the studies.

Shape letters: n studies, P patients, D draws, d draws of a block, T thresholds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hyperct_pipeline.metrics.bootstrap import blocks
from hyperct_pipeline.metrics.discrimination import known_labels


@dataclass(frozen=True)
class RankingDraws:
    """Metrics of each draw, (D,), and weighted calls at each threshold, (D, T); NaN where a draw lost a class."""

    auc: NDArray[np.float64]
    auprc: NDArray[np.float64]
    sens_at_spec: tuple[NDArray[np.float64], ...]  # one per specificity asked
    n_pos: NDArray[np.float64]
    n_neg: NDArray[np.float64]
    true_calls: NDArray[np.float64]
    false_calls: NDArray[np.float64]


class RankedStudies:
    """Studies with a known label, sorted by score.

    Args:
        label: (n,), 0 or 1.
        score: (n,), higher is more positive; ties count half in the AUROC.
        patient: (n,), numbers of the patients, rows of the counts.
    """

    def __init__(self, label: ArrayLike, score: ArrayLike, patient: NDArray[np.integer]) -> None:
        positive, values = known_labels(label), np.asarray(score, dtype=np.float64)
        order = np.argsort(values, kind="stable")
        positive, values, patient = positive[order], values[order], np.asarray(patient)[order]
        self.pos_score, self.neg_score = values[positive], values[~positive]
        self._pos_patient, self._neg_patient = patient[positive], patient[~positive]
        # of each positive: negatives strictly below it, and those not above it
        self._below = np.searchsorted(self.neg_score, self.pos_score, side="left")
        self._to = np.searchsorted(self.neg_score, self.pos_score, side="right")
        self._first_of_tie = np.searchsorted(self.pos_score, self.pos_score, side="left")

    def draws(
        self,
        counts: NDArray[np.int32],
        specificities: Sequence[float] = (),
        thresholds: NDArray[np.float64] | None = None,
    ) -> RankingDraws:
        """Metrics of every draw.

        Args:
            counts: (P, D) of `bootstrap.patient_counts`.
            specificities: for which the highest sensitivity is wanted.
            thresholds: ascending; a study is called from `score >= threshold` on.
        """
        ascending = np.empty(0) if thresholds is None else thresholds
        reached = [np.searchsorted(scores, ascending, side="left") for scores in (self.pos_score, self.neg_score)]
        n_draws, n_thresholds = counts.shape[1], len(ascending)
        names = ("auc", "auprc", "n_pos", "n_neg")
        of = {name: np.empty(n_draws) for name in names}
        sens = tuple(np.empty(n_draws) for _ in specificities)
        calls = [np.empty((n_draws, n_thresholds)) for _ in range(2)]
        for part, block in blocks(counts):
            weight = block[self._pos_patient]  # (n_pos, d)
            pos_sum, neg_sum = _running(weight), _running(block[self._neg_patient])
            of["n_pos"][part], of["n_neg"][part] = pos_sum[-1], neg_sum[-1]
            below = neg_sum[self._below]  # (n_pos, d), negatives below each positive
            of["auc"][part] = self._auc(weight, below, neg_sum)
            true_calls = pos_sum[-1] - pos_sum[self._first_of_tie]
            false_calls = neg_sum[-1] - below
            of["auprc"][part] = _average_precision(weight, true_calls, false_calls)
            for result, specificity in zip(sens, specificities, strict=True):
                result[part] = _sensitivity(true_calls, false_calls, pos_sum[-1], neg_sum[-1], specificity)
            for called, sums, place in zip(calls, (pos_sum, neg_sum), reached, strict=True):
                called[part] = (sums[-1] - sums[place]).T
        lost = (of["n_pos"] == 0) | (of["n_neg"] == 0)
        for values in (of["auc"], of["auprc"], *sens):
            values[lost] = np.nan
        return RankingDraws(**of, sens_at_spec=sens, true_calls=calls[0], false_calls=calls[1])

    def _auc(
        self, weight: NDArray[np.int32], below: NDArray[np.int32], neg_sum: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        """Share of weighted pairs in the right order, (d,)."""
        doubled = below + neg_sum[self._to]
        won = np.einsum("nd,nd->d", weight, doubled, dtype=np.float64)
        result: NDArray[np.float64] = won / 2.0 / np.maximum(weight.sum(axis=0, dtype=np.float64) * neg_sum[-1], 1.0)
        return result


def _running(weight: NDArray[np.int32]) -> NDArray[np.int32]:
    """Sums of the first 0, 1, ..., n rows, (n + 1, d)."""
    sums = np.zeros((len(weight) + 1, weight.shape[1]), dtype=np.int32)
    np.cumsum(weight, axis=0, out=sums[1:])
    return sums


def _average_precision(
    weight: NDArray[np.int32], true_calls: NDArray[np.int32], false_calls: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Sum over positives of the precision at their own score, over the number of positives, (d,)."""
    precision = true_calls / np.maximum(true_calls + false_calls, 1)
    total = np.maximum(weight.sum(axis=0, dtype=np.float64), 1.0)
    result: NDArray[np.float64] = np.einsum("nd,nd->d", weight, precision) / total
    return result


def _sensitivity(
    true_calls: NDArray[np.int32],
    false_calls: NDArray[np.int32],
    n_pos: NDArray[np.int32],
    n_neg: NDArray[np.int32],
    specificity: float,
) -> NDArray[np.float64]:
    """Highest sensitivity of a threshold whose specificity is at least the one asked, (d,)."""
    if not len(true_calls):
        return np.full(true_calls.shape[1], np.nan)
    # a lower threshold calls more of both, so the lowest that is allowed is the best; see
    # `discrimination.sensitivity_at_specificity` for the tolerance
    allowed = false_calls <= (1.0 - specificity + 1e-12) * n_neg
    result: NDArray[np.float64] = np.where(allowed, true_calls, 0).max(axis=0) / np.maximum(n_pos, 1)
    return result
