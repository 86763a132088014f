"""Paired differences against brute force, a known table of DeLong's test, and statsmodels for families."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from hyperct_pipeline.metrics.comparison import auroc_difference, benjamini_hochberg, holm


def _sample(n: int = 80) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, n)
    first = label + rng.normal(size=n)
    return label, first, 0.6 * first + rng.normal(size=n)


def test_one_study_per_patient_is_delongs_test() -> None:
    label, first, second = _sample()
    positive = label == 1
    structural = []
    for score in (first, second):
        wins = (score[positive][:, None] > score[~positive]).astype(float)
        structural.append((wins.mean(axis=1), wins.mean(axis=0)))
    covariance = sum(np.cov(structural[0][side], structural[1][side]) / len(structural[0][side]) for side in (0, 1))
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    found = auroc_difference(label, first, second, np.arange(80))
    delta = roc_auc_score(label, first) - roc_auc_score(label, second)
    assert found is not None and found.p is not None
    assert found[:3] == pytest.approx((roc_auc_score(label, first), roc_auc_score(label, second), delta))
    # the cross term of positives and negatives is zero without clusters
    assert found.p == pytest.approx(2 * norm.sf(abs(delta) / np.sqrt(variance)), rel=1e-9)
    assert found.high - found.low == pytest.approx(2 * norm.ppf(0.975) * np.sqrt(variance), rel=1e-9)


def test_studies_written_twice_change_no_p() -> None:
    label, first, second = _sample()
    patient = np.arange(80) // 2
    once = auroc_difference(label, first, second, patient)
    twice = auroc_difference(*(np.tile(values, 2) for values in (label, first, second, patient)))
    assert once is not None and twice is not None
    assert twice.p == pytest.approx(once.p, rel=1e-9)


def test_exchanged_models_turn_the_sign() -> None:
    label, first, second = _sample()
    one, two = (
        auroc_difference(label, first, second, np.arange(80)),
        auroc_difference(label, second, first, np.arange(80)),
    )
    assert one is not None and two is not None
    assert (two.value, two.low, two.high, two.p) == pytest.approx((-one.value, -one.high, -one.low, one.p))


def test_nothing_to_test_is_none() -> None:
    label, first, _ = _sample()
    same = auroc_difference(label, first, 2 * first + 1, np.arange(80))
    assert same is not None
    assert same[2:] == (0.0, None, None, None)
    assert auroc_difference([1, 1], [0.1, 0.2], [0.2, 0.1], np.arange(2)) is None
    assert auroc_difference([0, 1], [0.1, 0.2], [0.2, 0.1], np.array([0, 1]))[3:] == (None, None, None)


def test_families_equal_statsmodels() -> None:
    multipletests = pytest.importorskip("statsmodels.stats.multitest").multipletests
    p = np.array([0.01, 0.04, 0.03, 0.005, 0.5, 0.03])
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1])
    np.testing.assert_allclose(benjamini_hochberg(p), multipletests(p, method="fdr_bh")[1])
    assert len(holm([])) == len(benjamini_hochberg([])) == 0
    with pytest.raises(ValueError, match="undefined tests"):
        holm([0.1, np.nan])


def test_the_size_of_the_test_is_near_its_level_for_clustered_studies() -> None:
    # two scores of equal worth that share a patient effect: a tenth or so of unclustered tests would be wrong
    rejected, runs = 0, 300
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        patient = np.repeat(np.arange(60), 3)
        label = rng.integers(0, 2, 180)
        effect = rng.normal(size=(2, 60))[:, patient]
        first, second = (label + 0.7 * effect[k] + 0.7 * rng.normal(size=180) for k in (0, 1))
        found = auroc_difference(label, first, second, patient)
        assert found is not None and found.p is not None
        rejected += found.p < 0.05
    assert 0.02 <= rejected / runs <= 0.09
