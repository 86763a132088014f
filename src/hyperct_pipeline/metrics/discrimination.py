"""How well a score ranks the positives above the negatives, with intervals that know about patients.

Labels are arrays of 0 and 1: unknown labels are removed by the caller and counted there. A score may be a
logit or a probability. A metric that the data cannot define is None, never 0.0 or 0.5.

Shape letters: n studies, T thresholds.
"""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit, ndtri

Status = Literal["ok", "low_count", "one_class", "no_labels"]
LOW_COUNT = 10  # studies of either class below which a task's numbers carry the flag low_count


class Interval(NamedTuple):
    """A value with its confidence limits and how they were made; limits the data cannot estimate are None."""

    value: float
    low: float | None
    high: float | None
    method: str


def known_labels(label: ArrayLike) -> NDArray[np.bool_]:
    """Labels (n,) as booleans.

    Raises:
        ValueError: a label is neither 0 nor 1 (unknown labels do not belong here).
    """
    values = np.asarray(label, dtype=np.float64)
    if not np.isin(values, (0.0, 1.0)).all():
        raise ValueError("labels must be 0 or 1; leave studies with an unknown label out")
    positive: NDArray[np.bool_] = values == 1.0
    return positive


def status(n_pos: int, n_neg: int) -> Status:
    """What the class counts allow: nothing, no discrimination, numbers with caution, numbers."""
    if n_pos + n_neg == 0:
        return "no_labels"
    if min(n_pos, n_neg) == 0:
        return "one_class"
    return "low_count" if min(n_pos, n_neg) < LOW_COUNT else "ok"


def mid_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks (n,) from 1, equal values sharing the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2.0)[place]
    return ranks


def placements(label: ArrayLike, score: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """For each positive the share of negatives below it, for each negative the share of positives above it.

    Ties count half. Through ranks, O(n log n). Both classes must be present.
    """
    positive, values = known_labels(label), np.asarray(score, dtype=np.float64)
    ranks = mid_ranks(values)
    of_positives = (ranks[positive] - mid_ranks(values[positive])) / (~positive).sum()
    of_negatives = 1.0 - (ranks[~positive] - mid_ranks(values[~positive])) / positive.sum()
    return of_positives, of_negatives


def auroc(label: ArrayLike, score: ArrayLike) -> float | None:
    """Area under the ROC curve; None when a class is absent."""
    positive = known_labels(label)
    if not positive.any() or positive.all():
        return None
    return float(placements(label, score)[0].mean())


def auroc_interval(label: ArrayLike, score: ArrayLike, patient: ArrayLike, level: float = 0.95) -> Interval | None:
    """AUROC with the patient-clustered DeLong interval on the logit scale; None when a class is absent.

    With one study per patient this is DeLong's variance. Where the AUROC is 0 or 1 the variance vanishes
    although the uncertainty does not: the limit is then the exact binomial one for as many pairs of a
    positive and a negative as can be formed without using a patient twice. The limits are None where a class
    is seen in a single patient (`undefined_single_patient`), and where the variance is not above zero
    (`undefined_variance`): for a constant score, and in small samples whose covariance term cancels the
    others. An interval without width would claim a certainty that is not there.

    Sources: Obuchowski, Biometrics 1997;53:567 (clusters); DeLong et al., Biometrics 1988;44:837; Pepe 2003,
    section 5.2 (logit scale).
    """
    positive = known_labels(label)
    if not positive.any() or positive.all():
        return None
    cluster = np.unique(np.asarray(patient), return_inverse=True)[1].ravel()
    of_positives, of_negatives = placements(label, score)
    area = float(of_positives.mean())
    clusters_pos, clusters_neg = (len(np.unique(cluster[side])) for side in (positive, ~positive))
    if min(clusters_pos, clusters_neg) < 2:
        return Interval(area, None, None, "undefined_single_patient")
    if area in (0.0, 1.0):
        pairs = min(clusters_pos, clusters_neg, len(np.unique(cluster)) // 2)
        bound = float(((1.0 - level) / 2.0) ** (1.0 / pairs))
        low, high = (bound, 1.0) if area == 1.0 else (0.0, 1.0 - bound)
        return Interval(area, low, high, "exact_binomial")
    variance = paired_variance(positive, cluster, of_positives - area, of_negatives - area)
    if variance is None:
        return Interval(area, None, None, "undefined_variance")
    half = float(ndtri(0.5 + level / 2.0)) * np.sqrt(variance) / (area * (1.0 - area))
    low, high = float(expit(logit(area) - half)), float(expit(logit(area) + half))
    return Interval(area, low, high, "obuchowski_logit")


def paired_variance(
    positive: NDArray[np.bool_],
    patient: NDArray[np.integer],
    excess_pos: NDArray[np.float64],
    excess_neg: NDArray[np.float64],
) -> float | None:
    """Obuchowski's variance of a mean placement from its deviations, summed within patients.

    The placements are those of one model, or the differences of two models on the same studies. None where a class
    is seen in a single patient, and where the variance is not above zero, rounding included.

    Args:
        positive: (n,).
        patient: (n,), any numbers, equal within a patient.
        excess_pos: deviations of the positives, in their order.
        excess_neg: deviations of the negatives, in their order.
    """
    cluster = np.unique(patient, return_inverse=True)[1].ravel()
    n_clusters = int(cluster.max()) + 1
    m, n = len(excess_pos), len(excess_neg)
    sum_pos = np.bincount(cluster[positive], weights=excess_pos, minlength=n_clusters)
    sum_neg = np.bincount(cluster[~positive], weights=excess_neg, minlength=n_clusters)
    with_pos, with_neg = len(np.unique(cluster[positive])), len(np.unique(cluster[~positive]))
    if min(with_pos, with_neg) < 2:
        return None
    s_pos = with_pos / (with_pos - 1) / m * float(sum_pos @ sum_pos)
    s_neg = with_neg / (with_neg - 1) / n * float(sum_neg @ sum_neg)
    s_both = n_clusters / (n_clusters - 1) * float(sum_pos @ sum_neg)
    terms = (s_pos / m, s_neg / n, 2.0 * s_both / (m * n))
    # deviations that should be 0 are about 1e-16 after rounding, so their squares are about 1e-32
    rounding = max(1e-12 * sum(map(abs, terms)), 1e-28)
    return sum(terms) if sum(terms) > rounding else None


def auprc(label: ArrayLike, score: ArrayLike) -> float | None:
    """Average precision, sum of precision x gain in recall over thresholds; None when a class is absent.

    Read it beside the prevalence, which is the value of a score without information.
    """
    positive = known_labels(label)
    if not positive.any() or positive.all():
        return None
    _, sensitivity, specificity = operating_points(label, score)
    true_calls = sensitivity[1:] * positive.sum()
    false_calls = (1.0 - specificity[1:]) * (~positive).sum()
    return float(np.diff(sensitivity) @ (true_calls / (true_calls + false_calls)))


def brier(label: ArrayLike, probability: ArrayLike) -> float | None:
    """Mean squared distance of probability and label; defined with one class too, None without studies."""
    positive = known_labels(label)
    if not len(positive):
        return None
    return float(np.mean((np.asarray(probability, dtype=np.float64) - positive) ** 2))


def operating_points(
    label: ArrayLike, score: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Thresholds (T,) from high to low with sensitivity and specificity of calling `score >= threshold`
    positive.

    The first threshold is infinite: nobody is called. Both classes must be present.
    """
    positive, values = known_labels(label), np.asarray(score, dtype=np.float64)
    order = np.argsort(-values, kind="stable")
    ordered = values[order]
    last_of_tie = np.flatnonzero(np.concatenate((ordered[1:] != ordered[:-1], [True])))
    true_calls = np.cumsum(positive[order])[last_of_tie]
    false_calls = last_of_tie + 1 - true_calls
    thresholds = np.concatenate(([np.inf], ordered[last_of_tie]))
    sensitivity = np.concatenate(([0.0], true_calls / positive.sum()))
    specificity = np.concatenate(([1.0], 1.0 - false_calls / (~positive).sum()))
    return thresholds, sensitivity, specificity


def sensitivity_at_specificity(label: ArrayLike, score: ArrayLike, specificity: float) -> float | None:
    """Highest sensitivity of a threshold whose specificity is at least the one asked; None with one class."""
    positive = known_labels(label)
    if not positive.any() or positive.all():
        return None
    _, reached, specific = operating_points(label, score)
    # 18 of 20 negatives must count as 90 %, whatever the rounding of 1 - 2/20
    return float(reached[specific >= specificity - 1e-12].max())


def youden_threshold(label: ArrayLike, score: ArrayLike) -> float | None:
    """Threshold with the largest sensitivity + specificity - 1, the highest of equals; None with one class.

    None also where no threshold beats chance: the best choice is then to call nobody.
    """
    positive = known_labels(label)
    if not positive.any() or positive.all():
        return None
    thresholds, sensitivity, specificity = operating_points(label, score)
    gain = np.round(sensitivity + specificity, 12)  # equal sums may differ in the last digit
    best = float(thresholds[np.argmax(gain)])
    return best if np.isfinite(best) else None


def target_sensitivity_threshold(label: ArrayLike, score: ArrayLike, sensitivity: float) -> float | None:
    """Highest threshold that reaches the sensitivity asked; None with one class."""
    positive = known_labels(label)
    if not positive.any() or positive.all():
        return None
    thresholds, reached, _ = operating_points(label, score)
    # 9 of 10 positives must count as 90 %, whatever the rounding
    return float(thresholds[np.argmax(reached >= sensitivity - 1e-12)])
