"""Which tasks ask the backbone for similar changes: exact PCA and similarity of their weight updates.

Shape letters: T tasks, C components.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import squareform

from hyperct_pipeline.evaluation.update_grams import UpdateGram


@dataclass(frozen=True)
class Components:
    """Principal components of T points; T - 1 of them at most carry variance."""

    scores: NDArray[np.float64]  # (T, C)
    explained: NDArray[np.float64]  # (C,), share of the variance, falling; NaN where all points coincide


def principal_components(gram: UpdateGram) -> Components:
    """PCA from inner products: scores, and the share of variance of every component.

    Signs are fixed: the largest score of a component is positive.
    """
    n = len(gram.shifted)
    centring = np.eye(n) - 1.0 / n
    values, vectors = np.linalg.eigh(centring @ gram.shifted @ centring)
    values = np.clip(values[::-1][: max(n - 1, 1)], 0.0, None)
    vectors = vectors[:, ::-1][:, : max(n - 1, 1)]
    scores = vectors * np.sqrt(values)
    signs = np.sign(scores[np.abs(scores).argmax(axis=0), np.arange(scores.shape[1])])
    # the mean of equal factors differs from them in the last digit; that is rounding error, not variance
    size = max(float(np.trace(gram.plain)), np.finfo(np.float64).tiny)
    if values.sum() <= 1e-28 * size:
        return Components(np.zeros_like(scores), np.full(len(values), np.nan))
    return Components(scores * np.where(signs == 0, 1.0, signs), values / values.sum())


def pca_table(grams: Mapping[str, UpdateGram], tasks: Sequence[str], groups: Mapping[str, str]) -> pd.DataFrame:
    """Scores of all components, one row per place (`all`, module types, layers) and task.

    Columns: module (the place), number (from 1, as in the figure), task, group, norm (of the update), pc1, pc2, ...,
    and explained_pc1, ... (share of variance of the place's components, the same in each of its rows).
    """
    frames = []
    for module, gram in grams.items():
        components = principal_components(gram)
        names = [f"pc{k}" for k in range(1, components.scores.shape[1] + 1)]
        place = pd.DataFrame(
            {
                "module": module,
                "number": range(1, len(tasks) + 1),
                "task": list(tasks),
                "group": [groups[task] for task in tasks],
                "norm": gram.norms,
            }
        )
        scores = pd.DataFrame(components.scores, columns=names)
        explained = pd.DataFrame([components.explained] * len(tasks), columns=[f"explained_{n}" for n in names])
        frames.append(pd.concat([place, scores, explained], axis=1))
    return pd.concat(frames, ignore_index=True)


def similarity_table(grams: Mapping[str, UpdateGram], tasks: Sequence[str]) -> pd.DataFrame:
    """Cosine and distance of every pair of tasks: module, task_a, task_b, cosine, distance."""
    frames = [
        pd.DataFrame(
            {
                "module": module,
                "task_a": np.repeat(list(tasks), len(tasks)),
                "task_b": np.tile(list(tasks), len(tasks)),
                "cosine": gram.cosines().ravel(),
                "distance": gram.distances().ravel(),
            }
        )
        for module, gram in grams.items()
    ]
    return pd.concat(frames, ignore_index=True)


def linkage_order(distances: NDArray[np.float64]) -> NDArray[np.intp]:
    """Order of the tasks, (T,), in which similar ones stand together: leaves of average linkage."""
    if len(distances) < 3 or not np.isfinite(distances).all() or not distances.any():
        return np.arange(len(distances))
    condensed = squareform(distances, checks=False)
    result: NDArray[np.intp] = leaves_list(optimal_leaf_ordering(linkage(condensed, method="average"), condensed))
    return result
