"""The relabelling test against brute force over all divisions."""

import itertools
import math

import numpy as np
import pytest
import torch

from hyperct_pipeline.evaluation import group_separation as gs
from hyperct_pipeline.evaluation.update_grams import UpdateGram, gram_matrices

TASKS = [f"t{k}" for k in range(7)]
GROUPS = dict.fromkeys(TASKS[:3], "radiological") | dict.fromkeys(TASKS[3:], "cardiac")


def _gram(points: np.ndarray) -> UpdateGram:
    """Points (T, d) as rank-one updates with a common row."""
    a = torch.ones(len(points), 1, 1, 1)
    return gram_matrices({"q": (a, torch.from_numpy(points)[:, None, :, None])}, 1.0)["all"]


def _share(points: np.ndarray, first: tuple[int, ...]) -> float:
    """Between-group over total sum of squares, from the points themselves."""
    rest = [k for k in range(len(points)) if k not in first]
    mean = points.mean(axis=0)
    between = sum(len(g) * np.sum((points[list(g)].mean(axis=0) - mean) ** 2) for g in (first, rest))
    return float(between / np.sum((points - mean) ** 2))


def test_share_and_p_equal_brute_force() -> None:
    points = np.random.default_rng(0).normal(size=(7, 4)) + 3.0
    points[:3, 0] += 1.5
    row = gs.separation_table({"all": _gram(points)}, [], TASKS, GROUPS).iloc[0]
    shares = [_share(points, first) for first in itertools.combinations(range(7), 3)]
    assert row["share_between"] == pytest.approx(_share(points, (0, 1, 2)))
    assert row["p"] == pytest.approx(np.mean(np.array(shares) >= _share(points, (0, 1, 2)) - 1e-12))
    assert (row["n_divisions"], row["method"]) == (math.comb(7, 3), "exact_relabelling")


def test_groups_far_apart_get_the_smallest_p_there_is() -> None:
    points = np.random.default_rng(1).normal(size=(7, 3))
    points[:3] += 100.0
    row = gs.separation_table({"all": _gram(points)}, [], TASKS, GROUPS).iloc[0]
    assert row["p"] == pytest.approx(1 / 35)
    assert row["distance_between"] > 10 * row["distance_within"]


def test_updates_that_coincide_have_no_test_and_other_than_two_groups_no_rows() -> None:
    same = gs.separation_table({"all": _gram(np.ones((7, 2)))}, [], TASKS, GROUPS).iloc[0]
    assert np.isnan(same["share_between"]) and same["p"] is None
    assert gs.separation_table({"all": _gram(np.eye(7))}, [], TASKS, dict.fromkeys(TASKS, "cardiac")).empty


def test_too_many_divisions_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gs, "MOST_DIVISIONS", 10)
    monkeypatch.setattr(gs, "RANDOM_DIVISIONS", 2000)
    members, method = gs.divisions(7, 3)
    assert method == "random_relabelling"
    assert members.shape == (2000, 3) and all(len(set(row)) == 3 for row in members.tolist())
    points = np.random.default_rng(0).normal(size=(7, 4))
    row = gs.separation_table({"all": _gram(points)}, [], TASKS, GROUPS).iloc[0]
    shares = np.array([_share(points, first) for first in itertools.combinations(range(7), 3)])
    assert row["p"] == pytest.approx((shares >= _share(points, (0, 1, 2)) - 1e-12).mean(), abs=0.04)


def test_the_untrained_rows_carry_the_range_over_all_controls() -> None:
    rng = np.random.default_rng(2)
    points = [rng.normal(size=(7, 4)) for _ in range(4)]
    trained, *controls = ({"all": _gram(of)} for of in points)
    table = gs.separation_table(trained, controls, TASKS, GROUPS).set_index("weights")
    shares = [_share(of, (0, 1, 2)) for of in points]
    untrained = table.loc["untrained"]
    assert untrained["share_between"] == pytest.approx(shares[1])
    assert (untrained["share_low"], untrained["share_high"]) == pytest.approx((min(shares[1:]), max(shares[1:])))
    assert table["n_models"].to_dict() == {"trained": 1, "untrained": 3}
    assert np.isnan(table.loc["trained", "share_low"])
