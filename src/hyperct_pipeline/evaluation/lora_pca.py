"""Which tasks ask the backbone for similar changes: exact PCA of the low-rank weight updates s B A.

Only the product B A means something: A -> R A, B -> B R^-1 changes the factors and not the update. The
updates of all sites, flattened and laid end to end, are one vector of some 10^7 entries per task. Its inner
products need the factors alone: <B_t A_t, B_u A_u> is the sum over the elementwise product of B_t^T B_u and
A_t A_u^T, both r x r. So the vectors are never formed, and PCA follows from the double-centred matrix of
inner products.

Shape letters: T tasks, L layers, r rank, C components.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from hyperct_pipeline.model.hyperct import HyperCT

ALL_SITES = "all"
Adapters = Mapping[str, tuple[Tensor, Tensor]]
"""Module type -> A (T, L, r, n_in) and B (T, L, n_out, r)."""


@dataclass(frozen=True)
class Components:
    """Principal components of T points; T - 1 of them at most carry variance."""

    scores: NDArray[np.float64]  # (T, C)
    explained: NDArray[np.float64]  # (C,), share of the variance, falling; NaN where all points coincide


def gram_matrices(adapters: Adapters, scale: float) -> dict[str, NDArray[np.float64]]:
    """Inner products of the tasks' updates, (T, T), per module type and over all of them (`all`)."""
    grams = {site: _site_gram(a, b) * scale**2 for site, (a, b) in adapters.items()}
    total = np.sum(list(grams.values()), axis=0)
    return {ALL_SITES: total} | grams


def _site_gram(a: Tensor, b: Tensor) -> NDArray[np.float64]:
    """Sum over layers of <B_t A_t, B_u A_u>, (T, T), in float64 on the device of the factors."""
    n_tasks, n_layers, rank, _ = a.shape
    gram = torch.zeros(n_tasks, n_tasks, dtype=torch.float64, device=a.device)
    for layer in range(n_layers):
        flat_a = a[:, layer].double().flatten(0, 1)  # (T r, n_in)
        flat_b = b[:, layer].double().mT.flatten(0, 1)  # (T r, n_out)
        products = (flat_a @ flat_a.mT) * (flat_b @ flat_b.mT)  # (T r, T r)
        gram += products.reshape(n_tasks, rank, n_tasks, rank).sum(dim=(1, 3))
    result: NDArray[np.float64] = gram.cpu().numpy()
    return result


def principal_components(gram: NDArray[np.float64]) -> Components:
    """PCA from inner products, (T, T): scores, and the share of variance of every component.

    Signs are fixed: the largest score of a component is positive.
    """
    n = len(gram)
    centring = np.eye(n) - 1.0 / n
    values, vectors = np.linalg.eigh(centring @ gram @ centring)
    values = np.clip(values[::-1][: max(n - 1, 1)], 0.0, None)
    vectors = vectors[:, ::-1][:, : max(n - 1, 1)]
    scores = vectors * np.sqrt(values)
    signs = np.sign(scores[np.abs(scores).argmax(axis=0), np.arange(scores.shape[1])])
    # what double centring leaves of identical updates is rounding error, not variance
    if values.sum() <= 1e-12 * max(float(np.trace(gram)), np.finfo(np.float64).tiny):
        return Components(np.zeros_like(scores), np.full(len(values), np.nan))
    return Components(scores * np.where(signs == 0, 1.0, signs), values / values.sum())


def cosines(gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cosine between the tasks' updates, (T, T); NaN for a task whose update is zero."""
    norm = np.sqrt(np.diag(gram))
    norm = np.where(norm > 0, norm, np.nan)
    result: NDArray[np.float64] = gram / np.outer(norm, norm)
    return result


def distances(gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """Frobenius distance between the tasks' updates, (T, T)."""
    squared = np.diag(gram)[:, None] + np.diag(gram)[None, :] - 2.0 * gram
    result: NDArray[np.float64] = np.sqrt(np.clip(squared, 0.0, None))
    return result


def pca_table(
    grams: Mapping[str, NDArray[np.float64]], tasks: Sequence[str], groups: Mapping[str, str]
) -> pd.DataFrame:
    """Scores of all components, one row per module type (`all` first) and task.

    Columns: module, number (from 1, as in the figure), task, group, norm (of the update), pc1, pc2, ..., and
    explained_pc1, ... (share of variance of the module's components, the same in each of its rows).
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
                "norm": np.sqrt(np.diag(gram)),
            }
        )
        scores = pd.DataFrame(components.scores, columns=names)
        explained = pd.DataFrame([components.explained] * len(tasks), columns=[f"explained_{n}" for n in names])
        frames.append(pd.concat([place, scores, explained], axis=1))
    return pd.concat(frames, ignore_index=True)


def similarity_table(grams: Mapping[str, NDArray[np.float64]], tasks: Sequence[str]) -> pd.DataFrame:
    """Cosine and distance of every pair of tasks: module, task_a, task_b, cosine, distance."""
    frames = [
        pd.DataFrame(
            {
                "module": module,
                "task_a": np.repeat(list(tasks), len(tasks)),
                "task_b": np.tile(list(tasks), len(tasks)),
                "cosine": cosines(gram).ravel(),
                "distance": distances(gram).ravel(),
            }
        )
        for module, gram in grams.items()
    ]
    return pd.concat(frames, ignore_index=True)


@torch.no_grad()
def update_grams(model: HyperCT) -> dict[str, NDArray[np.float64]]:
    """`gram_matrices` of all tasks of a model."""
    device = next(model.parameters()).device
    adapters = model.eval().adapters(torch.arange(len(model.tasks), device=device))
    return gram_matrices(adapters, model.scale)
