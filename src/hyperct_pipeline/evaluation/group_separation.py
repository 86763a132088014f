"""Do the task groups differ in their weight updates more than any other division of the tasks would?

Shape letters: T tasks, M divisions.
"""

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hyperct_pipeline.evaluation.lora_pca import TRAINED, UNTRAINED
from hyperct_pipeline.evaluation.update_grams import UpdateGram

MOST_DIVISIONS = 3_000_000  # beyond, divisions are drawn at random
RANDOM_DIVISIONS = 99_999
COLUMNS = (
    "weights", "module", "groups", "n_first", "n_second", "share_between", "distance_within", "distance_between", "p",
    "n_divisions", "method",
)  # fmt: skip


def divisions(n_tasks: int, n_first: int, seed: int = 0) -> tuple[NDArray[np.float64], str]:
    """Every way to put n_first of the tasks into the first group, (M, T) of 0 and 1, and how they were found.

    All of them where there are at most `MOST_DIVISIONS`; otherwise a random sample, of which the observed division is
    not one.
    """
    n = math.comb(n_tasks, n_first)
    if n > MOST_DIVISIONS:
        generator = np.random.default_rng(seed)
        order = generator.random((RANDOM_DIVISIONS, n_tasks)).argsort(axis=1)
        return (order < n_first).astype(np.float64), "random_relabelling"
    flat = itertools.chain.from_iterable(itertools.combinations(range(n_tasks), n_first))
    chosen = np.fromiter(flat, dtype=np.int64, count=n * n_first).reshape(n, n_first)
    members = np.zeros((n, n_tasks))
    members[np.arange(n)[:, None], chosen] = 1.0
    return members, "exact_relabelling"


def share_between(gram: UpdateGram, members: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of the variance of the updates that lies between the two groups of each division, (M,).

    Squared distance of the group means times n1 n2 / T, over the total sum of squares: the R^2 of PERMANOVA
    (Anderson, Austral Ecology 2001;26:32). NaN where all updates coincide.

    Args:
        gram: of T updates.
        members: (M, T), 1 in the first group and 0 in the second; the first groups are of equal size.
    """
    n, first = len(gram.shifted), float(members[0].sum())
    centring = np.eye(n) - 1.0 / n
    centred = centring @ gram.shifted @ centring
    total = float(np.trace(centred))
    if total <= 1e-28 * max(float(np.trace(gram.plain)), np.finfo(np.float64).tiny):
        return np.full(len(members), np.nan)
    # with centred rows, the difference of the means is members * T / (n1 n2), up to what centring removes
    squared = np.einsum("mt,mt->m", members @ centred, members)
    result: NDArray[np.float64] = squared * n / (first * (n - first)) / total
    return result


def separation_table(
    trained: Mapping[str, UpdateGram],
    untrained: Mapping[str, UpdateGram],
    tasks: Sequence[str],
    groups: Mapping[str, str],
) -> pd.DataFrame:
    """Separation of the two groups, of the trained model and of the untrained control, overall and by place.

    Columns: `COLUMNS`. p is the share of divisions into groups of these sizes that separate at least as well, the
    observed one among them. No rows unless the tasks fall into exactly two groups.
    """
    names = list(dict.fromkeys(groups[task] for task in tasks))
    if len(names) != 2:
        return pd.DataFrame(columns=list(COLUMNS))
    own = np.array([groups[task] == names[0] for task in tasks])
    members, method = divisions(len(tasks), int(own.sum()))
    fixed = {"groups": " / ".join(names), "n_first": int(own.sum()), "n_second": int((~own).sum()), "method": method}
    rows = [
        {"weights": weights, "module": module} | fixed | _separation(gram, own, members, method)
        for weights, grams in ((TRAINED, trained), (UNTRAINED, untrained))
        for module, gram in grams.items()
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _separation(
    gram: UpdateGram, own: NDArray[np.bool_], members: NDArray[np.float64], method: str
) -> dict[str, float | int | None]:
    observed = float(share_between(gram, own[None].astype(np.float64))[0])
    distances = gram.distances()
    within, between = (
        distances[pair & ~np.eye(len(own), dtype=bool)] for pair in (own[:, None] == own, own[:, None] != own)
    )
    found: dict[str, float | int | None] = {
        "share_between": observed,
        "distance_within": float(within.mean()) if within.size else None,
        "distance_between": float(between.mean()),
        "p": None,
        "n_divisions": len(members),
    }
    if np.isfinite(observed):
        # the observed division among all, whatever the rounding of its sum
        as_good = int((share_between(gram, members) >= observed * (1.0 - 1e-9)).sum())
        drawn = method == "random_relabelling"
        found["p"] = (as_good + drawn) / (len(members) + drawn)
    return found
