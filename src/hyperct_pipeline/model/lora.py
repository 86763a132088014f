"""Low-rank updates of a block's linears.

    y = W x + s B A x,   A (r, n_in), B (n_out, r)

Shape letters: S scans, N images per scan, T tokens, r rank.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear as linear_map

from hyperct_pipeline.model.blocks import (
    Linear,
    SiteLinear,
    TransformerBlock,
    run_block,
    site_linears,
    site_modules,
)

Linears = Mapping[str, Linear]

Adapters = Mapping[str, tuple[Tensor, Tensor]]
"""Per adapted site A and B of one block: (S, r, n_in) and (S, n_out, r) per scan, or without S for one task."""


class _LowRankLinear(torch.autograd.Function):
    """W x + bias + s B A x per scan, with the two products of the update added in place.

    Backward: dx = W^T g + s A^T B^T g, dA = s (B^T g)^T x, dB = s g^T (A x): nothing of size n_out x n_in is made.
    Merging B A into W for every scan instead took 0.75 to 1.4 times as long on a CPU (docs/benchmarks.md).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float) -> Tensor:
        """x (S, T, n_in), a (S, r, n_in), b (S, n_out, r); all of one type."""
        inner = x @ a.mT
        ctx.save_for_backward(x, weight, a, b, inner)
        ctx.scale = scale
        return linear_map(x, weight, bias).baddbmm_(inner, b.mT, alpha=scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None, None, Tensor, Tensor, None]:
        """Gradients of x, a and b; the weight is frozen."""
        (gradient,) = gradients
        x, weight, a, b, inner = ctx.saved_tensors
        through_b = (gradient @ b) * ctx.scale
        dx = (gradient @ weight).baddbmm_(through_b, a) if ctx.needs_input_grad[0] else None
        return dx, None, None, through_b.mT @ x, (gradient.mT @ inner) * ctx.scale, None


class FrozenLinears:
    """The linears of a block as they are: without updates, or with updates merged in."""

    def __init__(self, linears: Linears) -> None:
        self.linears = linears
        self.dtype = linears["mlp_up"].weight.dtype

    def __call__(self, site: str, x: Tensor) -> Tensor:
        """The linear of a site, applied to (S * N, T, n_in)."""
        return linear_map(x, *self.linears[site])


class LowRankLinears:
    """The linears of a block with one update per scan; images of a scan lie next to each other.

    Cheap while every scan has its own task (training): nothing of size n_out x n_in is made.
    """

    def __init__(self, linears: Linears, adapters: Adapters, scale: float) -> None:
        self.linears, self.scale = linears, scale
        self.dtype = linears["mlp_up"].weight.dtype
        self.adapters = {site: (a.to(self.dtype), b.to(self.dtype)) for site, (a, b) in adapters.items()}

    def __call__(self, site: str, x: Tensor) -> Tensor:
        """The linear of a site, applied to (S * N, T, n_in)."""
        if site not in self.adapters:
            return linear_map(x, *self.linears[site])
        a, b = self.adapters[site]
        rows = x.reshape(len(a), -1, x.shape[-1])  # (S, N * T, n_in)
        y: Tensor = _LowRankLinear.apply(rows, *self.linears[site], a, b, self.scale)
        return y.view(*x.shape[:-1], y.shape[-1])


class SharedProducts:
    """Linears of the first adapted block: W x of query, key and value is computed once per scan for all its tasks.

    Args:
        rest: the linears of the other sites.
        products: W x + bias per site, repeated for every pair of scan and task.
        adapters: updates of these sites, for as many pairs, or one for all.
        scale: s.
    """

    def __init__(self, rest: SiteLinear, products: Mapping[str, Tensor], adapters: Adapters, scale: float) -> None:
        self.rest, self.products, self.scale, self.dtype = rest, products, scale, rest.dtype
        self.adapters = {site: (a.to(self.dtype), b.to(self.dtype)) for site, (a, b) in adapters.items()}

    def __call__(self, site: str, x: Tensor) -> Tensor:
        """The linear of a site, applied to (pairs * N, T, n_in)."""
        if site not in self.products:
            return self.rest(site, x)
        product = self.products[site]
        if site not in self.adapters:
            return product
        a, b = self.adapters[site]
        inner = x.reshape(len(a), -1, x.shape[-1]) @ a.mT
        together = torch.baddbmm(product.reshape(len(a), -1, product.shape[-1]), inner, b.mT, alpha=self.scale)
        return together.view(product.shape)


def per_sample_lora(x: Tensor, lora_a: Tensor, lora_b: Tensor) -> Tensor:
    """Low-rank update in which every sample has its own A and B.

    Args:
        x: (S, T, n_in).
        lora_a: (S, r, n_in).
        lora_b: (S, n_out, r).

    Returns:
        (S, T, n_out).
    """
    return x @ lora_a.mT @ lora_b.mT  # via (S, T, r)


def run_adapted_block(
    block: TransformerBlock,
    tokens: Tensor,
    rope: Tensor | None,
    linears: Linears,
    adapters: Adapters,
    scale: float,
    cls_only: bool,
) -> Tensor:
    """`run_block` with one update per scan: what is compiled and checkpointed as one piece."""
    return run_block(block, tokens, rope, LowRankLinears(linears, adapters, scale), cls_only)


def frozen(block: TransformerBlock) -> FrozenLinears:
    """The block's own linears, without updates."""
    return FrozenLinears(site_linears(block))


def merged(linears: Linears, adapters: Adapters, scale: float, dtype: torch.dtype = torch.float32) -> FrozenLinears:
    """The linears with one task's update merged into the weights: W + s B A.

    As cheap per scan as the frozen block: for scoring many scans with one task. The sum is made in the type of W and
    then rounded to `dtype`.
    """
    changed = {site: cast(linear, dtype) for site, linear in linears.items() if site not in adapters}
    for site, (a, b) in adapters.items():
        weight, bias = linears[site]
        changed[site] = cast(Linear(torch.addmm(weight, b, a, alpha=scale), bias), dtype)
    return FrozenLinears(changed)


def cast(linear: Linear, dtype: torch.dtype) -> Linear:
    """The linear in another floating-point type."""
    return Linear(linear.weight.to(dtype), None if linear.bias is None else linear.bias.to(dtype))


def check_adapters(adapters: Adapters, shapes: Mapping[str, tuple[int, int]], index: int) -> None:
    """Raises ValueError naming the module whose A or B does not fit block `index`."""
    modules = site_modules(index)
    for site, (lora_a, lora_b) in adapters.items():
        n_out, n_in = shapes[site]
        fits = lora_a.shape[-1] == n_in and lora_b.shape[-2] == n_out and lora_a.shape[-2] == lora_b.shape[-1]
        if not fits or lora_a.shape[:-2] != lora_b.shape[:-2]:
            raise ValueError(
                f"{modules[site]} ({site}): weight is ({n_out}, {n_in}), but A is {tuple(lora_a.shape)} and B is "
                f"{tuple(lora_b.shape)}; expected (..., r, {n_in}) and (..., {n_out}, r)"
            )
