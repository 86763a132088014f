"""Calibration against closed forms and known lines."""

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from hyperct_pipeline.metrics import calibration as c


def _data(slope: float, intercept: float, n: int = 40_000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    score = rng.normal(-1.0, 1.5, n)
    return (rng.random(n) < expit(intercept + slope * score)).astype(int), score


def test_platt_recovers_a_known_line() -> None:
    label, score = _data(0.6, 0.4)
    line = c.platt_line(label, score)
    assert line is not None
    assert (line.slope, line.intercept) == pytest.approx((0.6, 0.4), abs=0.03)


def test_line_equals_unpenalised_logistic_regression() -> None:
    label, score = _data(0.7, -0.3, 400)
    reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(score[:, None], label)
    line = c.calibration_line(label, expit(score))
    assert line is not None
    assert (line.slope, line.intercept) == pytest.approx((reference.coef_[0, 0], reference.intercept_[0]), abs=1e-5)


def test_nearly_separated_classes_have_the_line_of_the_reference() -> None:
    # 488 negatives at 0.1, 11 positives at 0.9 and a negative above them: a whole Newton step saturates every risk
    label, risk = np.repeat([0, 1, 0], [488, 11, 1]), np.repeat([0.1, 0.9, 0.91379066], [488, 11, 1])
    line = c.calibration_line(label, risk)
    assert line is not None
    x = logit(risk)
    residual = label - expit(line.intercept + line.slope * x)
    np.testing.assert_allclose([residual.sum(), residual @ x], 0.0, atol=1e-8)
    assert 1.0 < line.slope < 5.0


def test_two_groups_have_a_closed_form() -> None:
    # risk 0.2 -> 3 of 10 positive, risk 0.6 -> 5 of 10: the line passes through both observed logits
    label = [1] * 3 + [0] * 7 + [1] * 5 + [0] * 5
    line = c.calibration_line(label, [0.2] * 10 + [0.6] * 10)
    slope = (logit(0.5) - logit(0.3)) / (logit(0.6) - logit(0.2))
    assert line is not None
    assert (line.slope, line.intercept) == pytest.approx((slope, logit(0.5) - slope * logit(0.6)), abs=1e-9)


def test_in_the_large_has_a_closed_form_for_a_constant_risk() -> None:
    label = [1] * 30 + [0] * 70
    assert c.calibration_in_the_large(label, [0.2] * 100) == pytest.approx(logit(0.3) - logit(0.2), abs=1e-9)


def test_in_the_large_makes_the_mean_risk_right() -> None:
    label, score = _data(1.0, 0.5, 300)
    shift = c.calibration_in_the_large(label, expit(score))
    assert shift is not None
    assert expit(score + shift).sum() == pytest.approx(label.sum(), abs=1e-6)


@pytest.mark.parametrize(
    ("label", "risk"),
    [
        ([1, 1, 1], [0.2, 0.3, 0.4]),  # one class
        ([0, 1, 0, 1], [0.3, 0.3, 0.3, 0.3]),  # constant
        ([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4]),  # separated
        ([0, 0, 1, 1], [0.1, 0.2, 0.2, 0.4]),  # separated but for a tie
        ([1, 1, 0, 0], [0.1, 0.2, 0.3, 0.4]),  # separated the wrong way
    ],
)
def test_no_line_where_it_is_undefined(label: list[int], risk: list[float]) -> None:
    assert c.calibration_line(label, risk) is None


def test_one_class_has_neither_shift_nor_calibrator() -> None:
    assert c.calibration_in_the_large([1, 1], [0.4, 0.5]) is None
    assert c.platt_line([0, 0], [0.4, 0.5]) is None
    assert c.intercept_line([0, 0], [0.4, 0.5]) is None


def test_certain_probabilities_have_finite_logits() -> None:
    assert np.isfinite(c.to_logit([0.0, 1.0])).all()
    low, high = c.to_logit([0.0, 1.0])
    assert low == -high == pytest.approx(np.log(1e-12 / (1 - 1e-12)), abs=1e-14)
    np.testing.assert_array_equal(c.to_logit([1e-13, 1e-300, 1 - 1e-13]), [low, low, high])


def test_platt_is_finite_on_separated_classes_and_never_reverses() -> None:
    separated = c.platt_line([0, 0, 0, 1, 1], [-3.0, -2.0, -1.0, 1.0, 2.0])
    assert separated is not None
    assert 0 < separated.slope < 10
    reversed_ = c.platt_line([1, 1, 1, 0, 0], [-3.0, -2.0, -1.0, 1.0, 2.0])
    assert reversed_ is not None
    assert reversed_.slope == 0.0
    # Platt's targets: 3 positives at 4/5, 2 negatives at 1/4
    np.testing.assert_allclose(c.apply_line(reversed_, [-9.0, 9.0]), (3 * 0.8 + 2 * 0.25) / 5)


def test_reliability_bins_have_equal_counts() -> None:
    curve = c.reliability_curve([0, 0, 1, 0, 1, 1], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 3)
    np.testing.assert_allclose(curve.predicted, [0.15, 0.35, 0.55])
    np.testing.assert_allclose(curve.observed, [0.0, 0.5, 1.0])
    np.testing.assert_array_equal(curve.n, [2, 2, 2])
    assert len(c.reliability_curve([1, 0], [0.3, 0.4], 10).n) == 2


def test_equal_predictions_share_a_bin_whatever_the_order_of_the_rows() -> None:
    label, rng = np.repeat([0, 1], 50), np.random.default_rng(0)
    for order in (np.arange(100), rng.permutation(100)):
        constant = c.reliability_curve(label[order], np.full(100, 0.3), 5)
        assert (constant.n.tolist(), constant.observed.tolist()) == ([100], [0.5])
        # 10 of 0.1, 60 of 0.2, 30 of 0.7: bins of 20 would cut the second three times
        coarse = c.reliability_curve(label[order], np.repeat([0.1, 0.2, 0.7], [10, 60, 30])[order], 5)
        assert coarse.n.tolist() == [10, 60, 30]
        np.testing.assert_allclose(coarse.predicted, [0.1, 0.2, 0.7])
        np.testing.assert_allclose(coarse.observed, [0.0, 1 / 3, 1.0])


def test_expected_calibration_error_by_hand() -> None:
    # bins [0, .1), ..., [.9, 1]: 0.1 falls into the second, 1.0 into the last
    label, risk = [0, 1, 1, 0, 1], [0.05, 0.1, 0.15, 0.95, 1.0]
    expected = (abs(0.05) + abs((0.1 - 1) + (0.15 - 1)) + abs(0.95 + 0.0)) / 5
    assert c.expected_calibration_error(label, risk) == pytest.approx(expected)
    assert c.expected_calibration_error([], []) is None


def test_isotonic_knots_equal_pooled_adjacent_violators() -> None:
    # 1, 0 pool to 1/2; the knots are interpolated between and clipped outside
    x, y = c.isotonic_knots([0, 1, 0, 1], [1.0, 2.0, 3.0, 4.0])
    np.testing.assert_allclose(
        np.interp([0.0, 1.0, 2.0, 2.5, 3.0, 3.5, 4.0, 9.0], x, y), [0, 0, 0.5, 0.5, 0.5, 0.75, 1, 1]
    )


def test_right_risks_of_0_and_1_say_nothing_about_the_others() -> None:
    label, score = _data(0.7, 0.3, 400)
    risk = expit(score)
    more = np.concatenate([label, [0] * 50, [1] * 20]), np.concatenate([risk, np.zeros(50), np.ones(20)])
    assert c.calibration_line(*more) == c.calibration_line(label, risk)
    assert c.calibration_in_the_large(*more) == c.calibration_in_the_large(label, risk)
    # and the values are the limits that risks close to 0 and 1 come near
    near = more[0], np.clip(more[1], 1e-7, 1 - 1e-7)
    line = c.calibration_line(*near)
    assert line is not None
    assert c.calibration_in_the_large(*near) == pytest.approx(c.calibration_in_the_large(label, risk), abs=1e-4)


@pytest.mark.parametrize(
    ("label", "risk", "of_line", "in_the_large"),
    [
        ([], [], "no_labels", "no_labels"),
        ([1, 1], [0.4, 0.5], "one_class", "one_class"),
        ([0, 1, 0, 1], [0.3] * 4, "constant_risk", None),
        ([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4], "separated", None),
        ([0, 1, 0, 1], [0.0, 1.0, 1.0, 0.0], "certain_risks", "certain_risks"),  # hard calls, half of them wrong
        ([0, 1, 0, 1], [0.3, 0.0, 0.6, 0.7], "certain_risks", "certain_risks"),  # one certainty, wrong
        ([0, 1, 0, 1], [0.0, 1.0, 0.0, 1.0], "separated", "certain_risks"),  # all right, nothing left to fit
        ([0, 1, 0, 1, 1], [0.0, 1.0, 0.7, 0.3, 0.2], "separated", None),
        ([0, 1, 0, 1, 0], [0.0, 1.0, 0.7, 0.3, 0.2], "certain_risks", None),  # the others' line falls
        ([0, 0, 1, 1], [0.0, 0.0, 0.8, 0.9], "separated", "certain_risks"),
    ],
)
def test_what_is_undefined_says_why(
    label: list[int], risk: list[float], of_line: str | None, in_the_large: str | None
) -> None:
    assert (c.undefined_line(label, risk), c.undefined_in_the_large(label, risk)) == (of_line, in_the_large)
    assert (c.calibration_line(label, risk) is None) == (of_line is not None)
    assert (c.calibration_in_the_large(label, risk) is None) == (in_the_large is not None)


def test_a_shift_on_a_plateau_is_no_number() -> None:
    # any shift between -20 and 20 fits these risks, which are right to within 1e-11
    label, risk = np.repeat([0, 1], 50), np.repeat([1e-11, 1 - 1e-11], 50)
    assert c.undefined_in_the_large(label, risk) == "no_information"
