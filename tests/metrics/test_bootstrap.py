"""Resampling by patient."""

import numpy as np

from hyperct_pipeline.metrics.bootstrap import patient_draws, percentile_band


def test_studies_of_a_patient_share_their_count_and_each_draw_has_all_patients() -> None:
    patient = np.array(["b", "a", "b", "c", "a", "b"])
    draws = patient_draws(patient, 500, np.random.default_rng(0))
    np.testing.assert_array_equal(draws[:, 0], draws[:, 2])
    np.testing.assert_array_equal(draws[:, 0], draws[:, 5])
    np.testing.assert_array_equal(draws[:, 1], draws[:, 4])
    np.testing.assert_array_equal(draws[:, 0] + draws[:, 1] + draws[:, 3], np.full(500, 3))
    np.testing.assert_allclose(draws.mean(axis=0), 1.0, atol=0.12)


def test_draws_are_those_of_the_generator() -> None:
    first, second = (patient_draws(np.arange(9), 5, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert patient_draws([], 4, np.random.default_rng(0)).shape == (4, 0)


def test_band_leaves_undefined_draws_out() -> None:
    draws = np.array([[0.0, np.nan], [1.0, np.nan], [np.nan, np.nan]])
    low, high = percentile_band(draws, 0.5)
    np.testing.assert_allclose(low, [0.25, np.nan])
    np.testing.assert_allclose(high, [0.75, np.nan])
