"""Ranking metrics against brute force, sklearn and closed forms."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from hyperct_pipeline.metrics import discrimination as d


def _sample(seed: int, n: int = 80, ties: bool = True) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, n)
    score = rng.normal(size=n) + 0.8 * label
    return label, np.round(score, 1) if ties else score


def _pairs(label: np.ndarray, score: np.ndarray) -> np.ndarray:
    """psi(X_i, Y_j) over all pairs of a positive and a negative."""
    pos, neg = score[label == 1], score[label == 0]
    return (pos[:, None] > neg[None, :]) + 0.5 * (pos[:, None] == neg[None, :])


@pytest.mark.parametrize("seed", range(5))
def test_auroc_equals_all_pairs_and_sklearn(seed: int) -> None:
    label, score = _sample(seed)
    assert d.auroc(label, score) == pytest.approx(_pairs(label, score).mean(), abs=1e-14)
    assert d.auroc(label, score) == pytest.approx(roc_auc_score(label, score), abs=1e-14)
    assert d.auprc(label, score) == pytest.approx(average_precision_score(label, score), abs=1e-14)


@pytest.mark.parametrize("label", [[], [1, 1, 1], [0, 0]])
def test_undefined_is_none(label: list[int]) -> None:
    score = np.linspace(0.1, 0.9, len(label))
    assert d.auroc(label, score) is None
    assert d.auroc_interval(label, score, np.arange(len(label))) is None
    assert d.auprc(label, score) is None
    assert d.sensitivity_at_specificity(label, score, 0.9) is None
    assert d.youden_threshold(label, score) is None
    assert (d.brier(label, score) is None) == (len(label) == 0)


def test_unknown_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown label"):
        d.auroc([1, 0, -1], [0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    ("n_pos", "n_neg", "expected"),
    [(0, 0, "no_labels"), (3, 0, "one_class"), (0, 9, "one_class"), (9, 50, "low_count"), (10, 10, "ok")],
)
def test_status(n_pos: int, n_neg: int, expected: str) -> None:
    assert d.status(n_pos, n_neg) == expected


@pytest.mark.parametrize("seed", range(3))
def test_singletons_give_delongs_variance(seed: int) -> None:
    label, score = _sample(seed)
    psi = _pairs(label, score)
    area = psi.mean()
    variance = psi.mean(axis=1).var(ddof=1) / psi.shape[0] + psi.mean(axis=0).var(ddof=1) / psi.shape[1]
    half = 1.959963984540054 * np.sqrt(variance) / (area * (1 - area))
    centre = np.log(area / (1 - area))
    interval = d.auroc_interval(label, score, np.arange(len(label)))
    assert interval is not None
    expected = [1 / (1 + np.exp(-(centre + sign * half))) for sign in (-1, 1)]
    assert interval[:3] == pytest.approx((area, *expected), abs=1e-12)
    assert interval.method == "obuchowski_logit"


def test_clusters_equal_obuchowskis_sums() -> None:
    label, score = _sample(7, 60)
    patient = np.random.default_rng(0).integers(0, 25, 60)
    psi, area = _pairs(label, score), _pairs(label, score).mean()
    x, y = psi.mean(axis=1) - area, psi.mean(axis=0) - area
    m, n = psi.shape
    sums = [(x[patient[label == 1] == c].sum(), y[patient[label == 0] == c].sum()) for c in np.unique(patient)]
    with_pos, with_neg = len(set(patient[label == 1])), len(set(patient[label == 0]))
    everyone = len(sums)
    s10 = with_pos / ((with_pos - 1) * m) * sum(a * a for a, _ in sums)
    s01 = with_neg / ((with_neg - 1) * n) * sum(b * b for _, b in sums)
    s11 = everyone / (everyone - 1) * sum(a * b for a, b in sums)
    variance = s10 / m + s01 / n + 2 * s11 / (m * n)
    interval = d.auroc_interval(label, score, patient)
    assert interval is not None and interval.low is not None and interval.high is not None
    width = np.log(interval.high / (1 - interval.high)) - np.log(interval.low / (1 - interval.low))
    assert width == pytest.approx(2 * 1.959963984540054 * np.sqrt(variance) / (area * (1 - area)), rel=1e-10)


def test_doubling_each_study_within_its_patient_leaves_the_interval_nearly_alone() -> None:
    label, score = _sample(3, 200)
    once = d.auroc_interval(label, score, np.arange(200))
    twice = d.auroc_interval(np.tile(label, 2), np.tile(score, 2), np.tile(np.arange(200), 2))
    naive = d.auroc_interval(np.tile(label, 2), np.tile(score, 2), np.arange(400))
    assert naive is not None and once is not None and twice is not None
    assert twice[:3] == pytest.approx(once[:3], abs=1e-12)
    assert naive.high - naive.low < 0.75 * (once.high - once.low)


def test_perfect_separation_keeps_an_honest_limit() -> None:
    interval = d.auroc_interval([0] * 5 + [1] * 5, np.arange(10.0), np.arange(10))
    assert interval is not None and interval.method == "exact_binomial"
    assert interval[:3] == pytest.approx((1.0, 0.025 ** (1 / 5), 1.0))
    reverse = d.auroc_interval([1] * 5 + [0] * 5, np.arange(10.0), np.arange(10))
    assert reverse is not None
    assert reverse[:3] == pytest.approx((0.0, 0.0, 1 - 0.025 ** (1 / 5)))


def test_one_patient_with_positives_has_no_limits() -> None:
    assert d.auroc_interval([1, 1, 0, 0], [3.0, 1.0, 2.0, 0.0], [7, 7, 1, 2]) == (
        0.75,
        None,
        None,
        "undefined_single_patient",
    )


def test_a_variance_that_is_not_above_zero_gives_no_limits() -> None:
    undefined = (None, None, "undefined_variance")
    assert d.auroc_interval([0, 1] * 6, [0.3] * 12, np.arange(12)) == (0.5, *undefined)
    # by hand: deviations +-1/4 of opposite sign within each patient, 1/16 + 1/16 - 2/16 = 0
    label, score = [1, 1, 0, 0], [4.0, 2.0, 1.0, 3.0]
    assert d.auroc_interval(label, score, [0, 1, 1, 0]) == (0.75, *undefined)
    # 1/36 + 1/36 - 1/18 leaves what rounding leaves
    nearly = ([0, 0, 0, 1, 1, 1, 1], [2.0, 1.0, 6.0, 5.0, 4.0, 3.0, 0.0], [3, 2, 3, 2, 3, 3, 2])
    assert d.auroc_interval(*nearly) == (0.5, *undefined)
    singles = d.auroc_interval(label, score, [0, 1, 2, 3])
    assert singles is not None and singles.low is not None and singles.high is not None
    assert singles.low < 0.75 < singles.high


def test_interval_covers_the_truth_for_clustered_studies() -> None:
    # binormal with a shared patient effect: AUROC = Phi(1 / sqrt(2)) = 0.7602 whatever the share
    covered, runs = 0, 400
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        patient = np.repeat(np.arange(60), 3)
        label = rng.integers(0, 2, 180)
        score = label + np.sqrt(0.5) * rng.normal(size=60)[patient] + np.sqrt(0.5) * rng.normal(size=180)
        interval = d.auroc_interval(label, score, patient)
        assert interval is not None and interval.low is not None and interval.high is not None
        covered += interval.low <= 0.7602499389065233 <= interval.high
    assert 0.92 <= covered / runs <= 0.98


def test_sensitivity_at_specificity_by_hand() -> None:
    label = [0] * 10 + [1] * 4
    score = [*np.arange(10) / 10, 0.95, 0.85, 0.75, 0.05]
    # one false call of ten allowed: threshold 0.85 catches 2 of 4; none allowed: 1 of 4
    assert d.sensitivity_at_specificity(label, score, 0.9) == 0.5
    assert d.sensitivity_at_specificity(label, score, 0.95) == 0.25


def test_youden_by_hand_and_none_where_nothing_beats_chance() -> None:
    assert d.youden_threshold([0, 0, 1, 0, 1, 1], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]) == 0.5
    assert d.youden_threshold([1, 0], [0.1, 0.9]) is None


def test_brier() -> None:
    assert d.brier([1, 0, 1], [0.8, 0.3, 1.0]) == pytest.approx((0.04 + 0.09) / 3)


def test_target_sensitivity_is_the_highest_threshold_that_reaches_it() -> None:
    label, score = [0, 1, 0, 1, 1, 1, 1], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    assert d.target_sensitivity_threshold(label, score, 0.8) == 0.4  # 4 of 5
    assert d.target_sensitivity_threshold(label, score, 0.81) == 0.2
    assert d.target_sensitivity_threshold(label, score, 1.0) == 0.2
    assert d.target_sensitivity_threshold([1, 1], [0.1, 0.2], 0.9) is None


def test_the_variance_equals_the_sum_over_all_pairs_of_studies_of_a_patient() -> None:
    # brute force: the AUROC is a mean over pairs; its variance sums products of deviations that share a patient
    rng = np.random.default_rng(5)
    patient = rng.integers(0, 9, 40)
    label, score = rng.integers(0, 2, 40), np.round(rng.normal(size=40), 1)
    positive = label == 1
    wins = (score[positive][:, None] > score[~positive]) + 0.5 * (score[positive][:, None] == score[~positive])
    area = wins.mean()
    v, w = wins.mean(axis=1) - area, wins.mean(axis=0) - area
    of_pos, of_neg = patient[positive], patient[~positive]
    i_pos, i_neg, i_all = (len(set(group)) for group in (of_pos, of_neg, patient))
    m, n = positive.sum(), (~positive).sum()

    def pairs(a: np.ndarray, x: np.ndarray, b: np.ndarray, y: np.ndarray) -> float:
        return sum(x[i] * y[j] for i in range(len(x)) for j in range(len(y)) if a[i] == b[j])

    expected = (
        i_pos / (i_pos - 1) * pairs(of_pos, v, of_pos, v) / m**2
        + i_neg / (i_neg - 1) * pairs(of_neg, w, of_neg, w) / n**2
        + 2 * i_all / (i_all - 1) * pairs(of_pos, v, of_neg, w) / (m * n)
    )
    half = 1.959963984540054 * np.sqrt(expected) / (area * (1 - area))
    logit = np.log(area / (1 - area))
    interval = d.auroc_interval(label, score, patient)
    assert interval is not None
    assert interval[:3] == pytest.approx((area, 1 / (1 + np.exp(half - logit)), 1 / (1 + np.exp(-half - logit))))
