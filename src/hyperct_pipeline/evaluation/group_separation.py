"""Do the task groups differ in their weight updates more than any other division of the tasks would?

Shape letters: T tasks, M divisions.
"""

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hyperct_pipeline.evaluation.adapter_names import TRAINED, UNTRAINED
from hyperct_pipeline.evaluation.update_grams import UpdateGram

MOST_DIVISIONS = 3_000_000  # beyond, divisions are drawn at random
RANDOM_DIVISIONS = 99_999
COLUMNS = (
    "weights", "module", "groups", "n_first", "n_second", "share_between", "share_low", "share_high", "n_models",
    "distance_within", "distance_between", "p", "n_divisions", "method",
)  # fmt: skip


def divisions(n_tasks: int, n_first: int, seed: int = 0) -> tuple[NDArray[np.int64], str]:
    """Every way to choose a first group of n_first tasks, (M, n_first) numbers of tasks, and how they were found.

    All of them where there are at most `MOST_DIVISIONS`; otherwise a random sample, of which the observed division is
    not one.
    """
    n = math.comb(n_tasks, n_first)
    if n > MOST_DIVISIONS:
        generator = np.random.default_rng(seed)
        return generator.random((RANDOM_DIVISIONS, n_tasks)).argsort(axis=1)[:, :n_first], "random_relabelling"
    flat = itertools.chain.from_iterable(itertools.combinations(range(n_tasks), n_first))
    return np.fromiter(flat, dtype=np.int64, count=n * n_first).reshape(n, n_first), "exact_relabelling"


class Divisions:
    """Divisions of T tasks into two groups, ready for many updates.

    Args:
        first: (M, n1), the tasks of the first group of each division.
        n_tasks: T.
    """

    def __init__(self, first: NDArray[np.int64], n_tasks: int) -> None:
        self.n_tasks, self.n_first, self.n = n_tasks, first.shape[1], len(first)
        # place of each pair of the first group in a flat (T, T) matrix, one row per pair
        pairs = itertools.combinations_with_replacement(range(self.n_first), 2)
        self._places = [((first[:, a] * n_tasks + first[:, b]).astype(np.int32), 1.0 + (a != b)) for a, b in pairs]

    def share_between(self, gram: UpdateGram) -> NDArray[np.float64]:
        """Share of the variance of the updates that lies between the two groups of each division, (M,).

        Squared distance of the group means times n1 n2 / T, over the total sum of squares: the R^2 of PERMANOVA
        (Anderson, Austral Ecology 2001;26:32). NaN where all updates coincide.
        """
        n = self.n_tasks
        centring = np.eye(n) - 1.0 / n
        centred = centring @ gram.shifted @ centring
        total = float(np.trace(centred))
        if total <= 1e-28 * max(float(np.trace(gram.plain)), np.finfo(np.float64).tiny):
            return np.full(self.n, np.nan)
        # the first group's sum of centred updates, squared: its own inner products, and those of its pairs twice
        flat, squared = centred.ravel(), np.zeros(self.n)
        for places, times in self._places:
            squared += times * flat[places]
        result: NDArray[np.float64] = squared * n / (self.n_first * (n - self.n_first)) / total
        return result


def separation_table(
    trained: Mapping[str, UpdateGram],
    untrained: Sequence[Mapping[str, UpdateGram]],
    tasks: Sequence[str],
    groups: Mapping[str, str],
) -> pd.DataFrame:
    """Separation of the two groups, of the trained model and of the first untrained control, overall and by place.

    Columns: `COLUMNS`. share_low and share_high are the smallest and the largest share among all n_models controls:
    what chance gives a model of this shape; missing for the one trained model. p is the share of divisions into groups
    of these sizes that separate at least as well, the observed one among them. No rows unless the tasks fall into
    exactly two groups.
    """
    names = list(dict.fromkeys(groups[task] for task in tasks))
    if len(names) != 2:
        return pd.DataFrame(columns=list(COLUMNS))
    names.sort(key=[groups[task] for task in tasks].count)  # the smaller group first: fewer pairs to add up
    own = np.array([groups[task] == names[0] for task in tasks])
    first, method = divisions(len(tasks), int(own.sum()))
    every, observed = (Divisions(of, len(tasks)) for of in (first, np.flatnonzero(own)[None]))
    fixed = {"groups": " / ".join(names), "n_first": int(own.sum()), "n_second": int((~own).sum()), "method": method}
    rows = [
        {"weights": weights, "module": module}
        | fixed
        | _separation(gram, own, every, observed, method)
        | _spread([grams[module] for grams in models], observed)
        for weights, models in ((TRAINED, [trained]), (UNTRAINED, untrained))
        for module, gram in (models[0].items() if models else ())
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _spread(grams: Sequence[UpdateGram], division: Divisions) -> dict[str, float | int | None]:
    """The range of the share over several models; none of a single one."""
    shares = [float(division.share_between(gram)[0]) for gram in grams]
    several = len(shares) > 1
    low, high = (min(shares), max(shares)) if several else (None, None)
    return {"share_low": low, "share_high": high, "n_models": len(shares)}


def _separation(
    gram: UpdateGram, own: NDArray[np.bool_], every: Divisions, division: Divisions, method: str
) -> dict[str, float | int | None]:
    observed = float(division.share_between(gram)[0])
    distances = gram.distances()
    within, between = (
        distances[pair & ~np.eye(len(own), dtype=bool)] for pair in (own[:, None] == own, own[:, None] != own)
    )
    found: dict[str, float | int | None] = {
        "share_between": observed,
        "distance_within": float(within.mean()) if within.size else None,
        "distance_between": float(between.mean()),
        "p": None,
        "n_divisions": every.n,
    }
    if np.isfinite(observed):
        # the observed division among all, whatever the rounding of its sum
        as_good = int((every.share_between(gram) >= observed * (1.0 - 1e-9)).sum())
        drawn = method == "random_relabelling"
        found["p"] = (as_good + drawn) / (every.n + drawn)
    return found
