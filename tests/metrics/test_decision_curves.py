"""Net benefit against counts made by hand and a loop over thresholds."""

import numpy as np
import pytest

from hyperct_pipeline.metrics.decision_curves import (
    chance_of_being_best,
    decision_curve,
    percent_thresholds,
    value_of_perfect_information,
)


def _loop(label: np.ndarray, risk: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    values = []
    for t in thresholds:
        treated = risk >= t
        true, false = (treated & (label == 1)).sum(), (treated & (label == 0)).sum()
        values.append(true / len(label) - false / len(label) * t / (1 - t))
    return np.array(values)


def test_by_hand_with_a_risk_at_the_threshold() -> None:
    # at 0.20 all of 0.2, 0.5, 0.9 are treated: 2 true, 1 false of 4
    curve = decision_curve([0, 1, 0, 1], [0.1, 0.2, 0.5, 0.9], np.array([0.2, 0.6]))
    np.testing.assert_allclose(curve.net_benefit, [2 / 4 - 1 / 4 * 0.25, 1 / 4])
    np.testing.assert_allclose(curve.treat_all, [0.5 - 0.5 * 0.25, 0.5 - 0.5 * 1.5])
    np.testing.assert_allclose(curve.standardized, curve.net_benefit / 0.5)


def test_every_percent_meets_its_own_threshold() -> None:
    thresholds = percent_thresholds()
    assert len(thresholds) == 76
    for k in range(5, 81):
        curve = decision_curve([1], [k / 100], thresholds)
        assert curve.net_benefit.sum() == k - 4  # treated at 5 % ... k %, net benefit 1 each
    assert decision_curve([1], [float("0.35")], np.array([0.35])).net_benefit[0] == 1.0


def test_equals_the_loop() -> None:
    rng = np.random.default_rng(0)
    label, risk = rng.integers(0, 2, 300), np.round(rng.random(300), 2)
    thresholds = percent_thresholds()
    curve = decision_curve(label, risk, thresholds)
    np.testing.assert_allclose(curve.net_benefit, _loop(label, risk, thresholds), atol=1e-12)
    np.testing.assert_allclose(curve.treat_all, _loop(label, np.ones(300), thresholds), atol=1e-12)


def test_the_other_curves_by_hand() -> None:
    # 10 studies, 4 positive; at 0.2: 3 true and 2 false calls
    label = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    curve = decision_curve(label, [0.9, 0.5, 0.2, 0.1, 0.3, 0.2, 0.0, 0.0, 0.1, 0.1], np.array([0.2]))
    assert (curve.true_calls.tolist(), curve.false_calls.tolist()) == ([3], [2])
    net_benefit = 0.3 - 0.2 * 0.25
    np.testing.assert_allclose(curve.net_benefit, [net_benefit])
    np.testing.assert_allclose(curve.treat_all, [0.4 - 0.6 * 0.25])
    np.testing.assert_allclose(curve.standardized, [net_benefit / 0.4])
    # Vickers 2008: (net benefit - treat all) / odds * 100
    np.testing.assert_allclose(curve.interventions_avoided, [(net_benefit - 0.25) / 0.25 * 100])
    model, treat_all = curve.at_prevalence(0.1)
    np.testing.assert_allclose(model, [0.1 * 3 / 4 - 0.9 * 2 / 6 * 0.25])
    np.testing.assert_allclose(treat_all, [0.1 - 0.9 * 0.25])
    np.testing.assert_allclose(curve.at_prevalence(0.4)[0], curve.net_benefit)


def test_chance_of_being_best_and_the_value_of_knowing() -> None:
    # three strategies, four draws, one threshold; the third draw is a tie of the first two
    draws = np.array([[0.3, 0.1, 0.2, -0.1], [0.1, 0.2, 0.2, -0.2], [0.0, 0.0, 0.0, 0.0]])[:, :, None]
    np.testing.assert_allclose(chance_of_being_best(draws)[:, 0], [1.5 / 4, 1.5 / 4, 1 / 4])
    best_each, best_mean = (0.3 + 0.2 + 0.2 + 0.0) / 4, max(0.5 / 4, 0.3 / 4, 0.0)
    np.testing.assert_allclose(value_of_perfect_information(draws), [best_each - best_mean])
    lost = np.concatenate([draws, np.full((3, 2, 1), np.nan)], axis=1)
    np.testing.assert_allclose(chance_of_being_best(lost), chance_of_being_best(draws))
    np.testing.assert_allclose(value_of_perfect_information(lost), value_of_perfect_information(draws))
    assert np.isnan(chance_of_being_best(np.full((3, 2, 1), np.nan))).all()


def test_without_positives_the_standardized_curve_is_undefined() -> None:
    curve = decision_curve([0, 0], [0.1, 0.9], np.array([0.5]))
    np.testing.assert_allclose(curve.net_benefit, [-0.5])
    assert np.isnan(curve.standardized).all()


@pytest.mark.parametrize(
    ("label", "risk", "thresholds", "message"),
    [
        ([1], [1.2], [0.5], "outside"),
        ([1], [np.nan], [0.5], "outside"),
        ([1], [0.2], [0.5, 0.4], "ascend"),
        ([1], [0.2], [0.5, 1.0], "ascend"),
        ([], [], [0.5], "no studies"),
    ],
)
def test_impossible_input_is_refused(
    label: list[int], risk: list[float], thresholds: list[float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        decision_curve(label, risk, np.array(thresholds))
