"""Sandwich intervals against statsmodels and by hand."""

import numpy as np
import pytest
from scipy.special import expit, logit

from hyperct_pipeline.metrics import calibration_intervals as ci

sm = pytest.importorskip("statsmodels.api")


def _sample() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    patient = rng.integers(0, 60, 200)
    x = rng.normal(-0.5, 1.2, 200)
    label = (rng.random(200) < expit(0.3 + 0.7 * x + rng.normal(size=60)[patient])).astype(int)
    return label, expit(x), patient


def test_slope_and_intercept_equal_statsmodels_with_clusters() -> None:
    label, risk, patient = _sample()
    design = sm.add_constant(logit(risk))
    fit = sm.Logit(label, design).fit(disp=0, cov_type="cluster", cov_kwds={"groups": patient}, tol=1e-14)
    slope, intercept = ci.line_intervals(label, risk, patient)
    limits = fit.conf_int()
    assert slope[:3] == pytest.approx((fit.params[1], *limits[1]), rel=1e-6)
    assert intercept[:3] == pytest.approx((fit.params[0], *limits[0]), rel=1e-6)


def test_in_the_large_equals_statsmodels_with_an_offset() -> None:
    label, risk, patient = _sample()
    fit = sm.GLM(label, np.ones(200), family=sm.families.Binomial(), offset=logit(risk)).fit(
        cov_type="cluster", cov_kwds={"groups": patient}, tol=1e-14
    )
    found = ci.in_the_large_interval(label, risk, patient)
    assert found is not None
    assert found[:3] == pytest.approx((fit.params[0], *fit.conf_int()[0]), rel=1e-6)


def test_observed_over_expected_by_hand() -> None:
    # one study per patient: variance of log(O/E) is sum of (y - r p)^2 / (r E)^2 * n/(n - 1)
    label, risk = np.array([1, 0, 1, 0]), np.array([0.5, 0.25, 0.5, 0.25])
    found = ci.observed_to_expected_interval(label, risk, np.arange(4))
    ratio = 2 / 1.5
    deviation = np.sqrt(4 / 3 * sum((label - ratio * risk) ** 2)) / 2
    factor = np.exp(1.959963984540054 * deviation)
    assert found is not None
    assert found[:3] == pytest.approx((ratio, ratio / factor, ratio * factor))


def test_clusters_count_once() -> None:
    label, risk, patient = _sample()
    twice = [np.concatenate([values, values]) for values in (label, risk, patient)]
    once, doubled = ci.line_intervals(label, risk, patient), ci.line_intervals(*twice)
    assert once is not None and doubled is not None
    # a study that is written twice tells nothing new; only the small-sample factor (n - 1)/(n - 2) changes
    factor = np.sqrt((399 / 398) / (199 / 198))
    for a, b in zip(once, doubled, strict=True):
        assert b.high - b.low == pytest.approx((a.high - a.low) * factor, rel=1e-6)


def test_undefined_stays_undefined() -> None:
    assert ci.line_intervals([0, 0], [0.1, 0.2], np.arange(2)) is None
    assert ci.in_the_large_interval([1, 1], [0.1, 0.2], np.arange(2)) is None
    assert ci.observed_to_expected_interval([], [], np.arange(0)) is None
    three_of_two = ci.observed_to_expected_interval([1] * 30 + [0] * 70, [0.2] * 100, np.arange(100))
    assert three_of_two is not None and three_of_two.value == pytest.approx(1.5)
    single = ci.in_the_large_interval([0, 1, 0], [0.1, 0.2, 0.3], np.zeros(3, dtype=int))
    assert single is not None
    assert single[1:] == (None, None, "undefined_variance")
    none = ci.observed_to_expected_interval([0, 0], [0.1, 0.2], np.arange(2))
    assert none == (0.0, None, None, "undefined_variance")
