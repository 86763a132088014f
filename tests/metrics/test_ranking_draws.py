"""Every draw against sklearn on weighted studies."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from hyperct_pipeline.metrics.bootstrap import BLOCK, BLOCK_CELLS, patient_counts
from hyperct_pipeline.metrics.discrimination import sensitivity_at_specificity
from hyperct_pipeline.metrics.ranking_draws import RankedStudies


@pytest.mark.parametrize("digits", [1, 12])  # many ties, none
def test_draws_equal_those_of_repeated_studies(digits: int) -> None:
    rng = np.random.default_rng(0)
    n, n_patients, n_draws = 120, BLOCK_CELLS // BLOCK, 2 * BLOCK + 3  # so many that draws are cut into three blocks
    patient, label = rng.integers(0, n_patients, n), (rng.random(n) < 0.3).astype(int)
    patient = np.repeat(patient[: n // 2], 2)
    score = np.round(np.clip(rng.normal(0.4 + 0.2 * label, 0.2), 0, 1), digits)
    counts, thresholds = patient_counts(n_patients, n_draws, rng), np.array([0.1, 0.3, 0.5, 0.9])
    draws = RankedStudies(label, score, patient).draws(counts, (0.9, 0.95), thresholds)
    for draw in range(n_draws):
        weight = counts[patient, draw]
        y, s = np.repeat(label, weight), np.repeat(score, weight)
        assert draws.auc[draw] == pytest.approx(roc_auc_score(y, s), abs=1e-12)
        assert draws.auprc[draw] == pytest.approx(average_precision_score(y, s), abs=1e-12)
        for found, specificity in zip(draws.sens_at_spec, (0.9, 0.95), strict=True):
            assert found[draw] == pytest.approx(sensitivity_at_specificity(y, s, specificity), abs=1e-12)
        assert (draws.n_pos[draw], draws.n_neg[draw]) == (y.sum(), (1 - y).sum())
        np.testing.assert_array_equal(draws.true_calls[draw], [(y[s >= t] == 1).sum() for t in thresholds])
        np.testing.assert_array_equal(draws.false_calls[draw], [(y[s >= t] == 0).sum() for t in thresholds])


def test_a_draw_that_lost_a_class_is_nan_and_keeps_its_calls() -> None:
    counts = np.array([[1, 2, 0], [1, 0, 2]], dtype=np.int32)
    draws = RankedStudies([0, 1], [0.1, 0.2], np.array([0, 1])).draws(counts, (0.9,), np.array([0.15]))
    np.testing.assert_array_equal(draws.auc, [1.0, np.nan, np.nan])
    np.testing.assert_array_equal(draws.sens_at_spec[0], [1.0, np.nan, np.nan])
    np.testing.assert_array_equal(draws.true_calls[:, 0], [1, 0, 2])


@pytest.mark.parametrize("label", [[], [1, 1], [0]])
def test_without_both_classes_all_draws_are_nan(label: list[int]) -> None:
    counts = patient_counts(2, 4, np.random.default_rng(0))
    draws = RankedStudies(label, [0.5] * len(label), np.arange(len(label))).draws(counts, (0.9,))
    for values in (draws.auc, draws.auprc, draws.sens_at_spec[0]):
        assert np.isnan(values).all()
