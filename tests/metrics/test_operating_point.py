"""Calls at a threshold, and Wilson's interval against its closed form."""

import numpy as np
import pytest
from scipy.stats import binomtest

from hyperct_pipeline.metrics.operating_point import Calls, calls_at, f1_interval, wilson


def test_calls_by_hand_a_score_on_the_threshold_is_called() -> None:
    label, score = [1, 1, 1, 0, 0, 0, 0], [0.9, 0.5, 0.4, 0.6, 0.5, 0.49, 0.1]
    assert calls_at(label, score, 0.5) == (2, 2, 2, 1)
    assert calls_at([], [], 0.5) == (0, 0, 0, 0)


@pytest.mark.parametrize(("count", "total"), [(0, 7), (7, 7), (1, 1), (3, 11), (81, 263)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_wilson_equals_scipy(count: int, total: int, level: float) -> None:
    expected = binomtest(count, total).proportion_ci(level, method="wilson")
    assert wilson(count, total, level) == pytest.approx((count / total, expected.low, expected.high), abs=1e-12)


def test_wilson_of_nobody_is_none_and_its_limits_are_exact_at_the_ends() -> None:
    assert wilson(0, 0) is None
    # 81 of 263, 95 %: 0.2553 to 0.3662 (Newcombe, Stat Med 1998;17:857, table I)
    assert np.round(wilson(81, 263), 4).tolist() == [0.308, 0.2553, 0.3662]
    assert wilson(0, 5).low == 0.0
    assert wilson(5, 5).high == 1.0


def test_wilson_equals_statsmodels() -> None:
    proportion_confint = pytest.importorskip("statsmodels.stats.proportion").proportion_confint
    for count, total in ((0, 7), (3, 7), (7, 7), (941, 1000)):
        found = wilson(count, total, 0.9)
        assert found is not None
        assert found[1:] == pytest.approx(proportion_confint(count, total, 0.1, "wilson"), abs=1e-12)


def test_f1_carries_the_limits_of_the_share_it_rises_with() -> None:
    calls = Calls(6, 2, 9, 4)
    found, share = f1_interval(calls), wilson(6, 12)
    assert found is not None and share is not None
    assert found.value == pytest.approx(2 * 6 / (2 * 6 + 2 + 4))
    assert found[1:] == pytest.approx([2 * j / (1 + j) for j in share[1:]])
    assert f1_interval(Calls(0, 0, 5, 0)) is None
    assert f1_interval(Calls(0, 3, 5, 0)) is not None
