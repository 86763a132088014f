"""Inner products of the tasks' low-rank weight updates s B A, exact and without forming an update.

Only the product B A means something: A -> R A, B -> B R^-1 changes the factors and not the update. The updates of
all sites, flattened and laid end to end, are one vector of some 10^8 entries per task at the published size.

Tasks may differ by little, and then differences of inner products would be lost in rounding. So products are taken of
the updates minus a common one, whose factors are the means A0 and B0 of the tasks' factors:

    B A - B0 A0 = dB A + B0 dA        with dA = A - A0, dB = B - B0

Each term is small where tasks nearly coincide, so nothing large cancels. The inner product of two such updates needs
products of factors alone: of dB A with dB A it is the sum over the elementwise product of dB_t^T dB_u and A_t A_u^T,
both r x r; the terms with B0 collapse to inner products of r x n_in matrices.

Shape letters: T tasks, L layers, r rank.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hyperct_pipeline.evaluation.adapter_names import ALL_SITES
from hyperct_pipeline.model.hyperct import HyperCT

Adapters = Mapping[str, tuple[Tensor, Tensor]]
"""Module type -> A (T, L, r, n_in) and B (T, L, n_out, r)."""


@dataclass(frozen=True)
class UpdateGram:
    """Inner products of T updates, split so that small differences survive.

    shifted: of the updates minus the common one, (T, T). with_common: of the shifted updates with the common one, (T,).
    common: the common one with itself.
    """

    shifted: NDArray[np.float64]
    with_common: NDArray[np.float64]
    common: float

    def __add__(self, other: "UpdateGram") -> "UpdateGram":
        """Inner products of the updates laid end to end."""
        return UpdateGram(
            self.shifted + other.shifted, self.with_common + other.with_common, self.common + other.common
        )

    @property
    def plain(self) -> NDArray[np.float64]:
        """Inner products of the updates themselves, (T, T)."""
        return self.shifted + self.with_common[:, None] + self.with_common[None, :] + self.common

    @property
    def norms(self) -> NDArray[np.float64]:
        """Frobenius norms of the updates, (T,)."""
        return np.sqrt(np.clip(np.diag(self.plain), 0.0, None))

    def cosines(self) -> NDArray[np.float64]:
        """Cosine between the tasks' updates, (T, T); NaN for a task whose update is zero."""
        norm = np.where(self.norms > 0, self.norms, np.nan)
        result: NDArray[np.float64] = self.plain / np.outer(norm, norm)
        return result

    def distances(self) -> NDArray[np.float64]:
        """Frobenius distance between the tasks' updates, (T, T)."""
        square = np.diag(self.shifted)
        squared = square[:, None] + square[None, :] - 2.0 * self.shifted
        np.fill_diagonal(squared, 0.0)
        result: NDArray[np.float64] = np.sqrt(np.clip(squared, 0.0, None))
        return result


def gram_matrices(adapters: Adapters, scale: float) -> dict[str, UpdateGram]:
    """Inner products over all sites (`all`), per module type, and per layer (`layer 0`, ...), in this order."""
    by_place = {(site, layer): gram for site, (a, b) in adapters.items() for layer, gram in _layer_grams(a, b, scale)}
    layers = sorted({layer for _, layer in by_place})

    def total(chosen: list[UpdateGram]) -> UpdateGram:
        return sum(chosen[1:], start=chosen[0])

    modules = {site: total([g for (s, _), g in by_place.items() if s == site]) for site in adapters}
    of_layers = {f"layer {n}": total([g for (_, k), g in by_place.items() if k == n]) for n in layers}
    return {ALL_SITES: total(list(by_place.values()))} | modules | of_layers


def _layer_grams(a: Tensor, b: Tensor, scale: float) -> Iterator[tuple[int, UpdateGram]]:
    """Inner products of one module type in each layer, in float64 on the device of the factors."""
    for layer in range(a.shape[1]):
        yield layer, _update_gram(a[:, layer].double(), b[:, layer].double() * scale)


def _update_gram(a: Tensor, b: Tensor) -> UpdateGram:
    """A (T, r, n_in), B (T, n_out, r)."""
    n_tasks, rank, _ = a.shape
    a0, b0 = a.mean(dim=0), b.mean(dim=0)
    da, db = a - a0, b - b0
    flat_a, flat_db = a.flatten(0, 1), db.mT.flatten(0, 1)  # (T r, n_in), (T r, n_out)
    both = (flat_a @ flat_a.mT) * (flat_db @ flat_db.mT)  # (T r, T r)
    first = both.reshape(n_tasks, rank, n_tasks, rank).sum(dim=(1, 3))
    # <dB_t A_t, B0 dA_u> and <B0 dA_t, B0 dA_u>
    moved = (b0.mT @ db @ a).flatten(1)  # (T, r n_in)
    mixed = moved @ da.flatten(1).mT
    inner = b0.mT @ b0
    second = (inner @ da).flatten(1) @ da.flatten(1).mT
    # with the common update: <dB_t A_t + B0 dA_t, B0 A0>
    with_common = (moved + (inner @ da).flatten(1)) @ a0.flatten()
    common = float((inner @ a0).flatten() @ a0.flatten())
    shifted = first + mixed + mixed.mT + second
    return UpdateGram(shifted.cpu().numpy(), with_common.cpu().numpy(), common)


@torch.no_grad()
def update_grams(model: HyperCT) -> dict[str, UpdateGram]:
    """`gram_matrices` of all tasks of a model, from the factors that its adapter export writes too."""
    device = next(model.parameters()).device
    adapters = model.eval().adapters(torch.arange(len(model.tasks), device=device))
    return gram_matrices(adapters, model.scale)
