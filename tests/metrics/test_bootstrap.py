"""Resampling by patient."""

import numpy as np
import pytest

from hyperct_pipeline.metrics.bootstrap import (
    blocks,
    complete_share,
    logit_limits,
    mean_draws,
    patient_counts,
    percentile_band,
    summed,
)


def test_each_draw_has_as_many_patients_as_there_are() -> None:
    counts = patient_counts(3, 500, np.random.default_rng(0))
    assert counts.shape == (3, 500)
    np.testing.assert_array_equal(counts.sum(axis=0), np.full(500, 3))
    np.testing.assert_allclose(counts.mean(axis=1), 1.0, atol=0.12)


def test_draws_are_those_of_the_generator() -> None:
    first, second = (patient_counts(9, 5, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert patient_counts(0, 4, np.random.default_rng(0)).shape == (0, 4)


@pytest.mark.parametrize(("n_patients", "n_blocks"), [(7, 1), (1024, 2), (5000, 3)])
def test_blocks_are_all_draws_in_order(n_patients: int, n_blocks: int) -> None:
    counts = patient_counts(n_patients, 37, np.random.default_rng(0))
    assert len(list(blocks(counts))) == n_blocks
    np.testing.assert_array_equal(np.concatenate([block for _, block in blocks(counts)], axis=1), counts)


def test_sums_equal_those_of_repeated_studies() -> None:
    rng = np.random.default_rng(1)
    patient, values = rng.integers(0, 5, 12), rng.normal(size=(12, 2))
    counts = patient_counts(5, 20, rng)
    expected = [np.repeat(values, counts[patient, draw], axis=0).sum(axis=0) for draw in range(20)]
    np.testing.assert_allclose(summed(values, patient, counts), expected, atol=1e-12)


def test_band_leaves_undefined_draws_out() -> None:
    draws = np.array([[0.0, np.nan], [1.0, np.nan], [np.nan, np.nan]])
    low, high = percentile_band(draws, 0.5)
    np.testing.assert_allclose(low, [0.25, np.nan])
    np.testing.assert_allclose(high, [0.75, np.nan])


def test_the_band_leaves_out_undefined_draws_wherever_they_are() -> None:
    draws = np.random.default_rng(0).normal(size=(50, 4))
    whole = draws.copy()
    whole[[3, 7]] = np.nan  # draws without any value
    np.testing.assert_array_equal(percentile_band(whole), percentile_band(np.delete(draws, [3, 7], axis=0)))
    whole[5, 1] = np.nan
    whole[:, 2] = np.nan
    low, high = percentile_band(whole, 0.9)
    np.testing.assert_allclose(low[[0, 1, 3]], np.nanquantile(whole[:, [0, 1, 3]], 0.05, axis=0))
    np.testing.assert_allclose(high[[0, 1, 3]], np.nanquantile(whole[:, [0, 1, 3]], 0.95, axis=0))
    assert np.isnan([low[2], high[2]]).all()
    assert np.isnan(percentile_band(np.full((3, 2), np.nan))).all()


def test_logit_limits_lie_around_the_value_wherever_the_draws_lie() -> None:
    draws = np.random.default_rng(0).normal(0.8, 0.05, 400)
    found = logit_limits(0.6, draws, 0.9)
    assert found is not None
    half = 1.6448536269514722 * draws.std(ddof=1) / 0.24
    np.testing.assert_allclose(np.log(found / (1 - np.array(found))), np.log(1.5) + np.array([-half, half]))
    assert logit_limits(0.6, np.append(draws, np.nan), 0.9) == found
    assert logit_limits(1.0, draws) is None and logit_limits(0.5, draws[:1]) is None


def test_a_task_that_a_draw_lacks_does_not_shift_it() -> None:
    common, rare = np.array([0.5, 0.6, 0.4, np.nan]), np.array([1.0, np.nan, 0.8, np.nan])
    # values 0.5 and 1.0: deviations (0, 0), (0.1), (-0.1, -0.2), none
    np.testing.assert_allclose(mean_draws([0.5, 1.0], [common, rare]), [0.75, 0.85, 0.6, np.nan])
    np.testing.assert_allclose(mean_draws([0.5, 1.0], [common[:1], rare[:1]]), (common[:1] + rare[:1]) / 2)
    assert complete_share([common, rare]) == 0.5
