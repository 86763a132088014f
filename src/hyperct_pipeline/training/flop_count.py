"""Operations of matrix products, counted as they run."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode


def _added_in_place(sum_shape: Sequence[int], a_shape: Sequence[int], *_: Any, **__: Any) -> int:
    """Products (b, n, k) and (b, k, m) added to (b, n, m)."""
    return 2 * math.prod(sum_shape) * a_shape[-1]


_FORMULAS = {torch.ops.aten.baddbmm_: _added_in_place}
"""torch has a formula for the product that makes a new tensor only; low-rank updates are added in place."""


def matmul_flop(function: Callable[[], Any]) -> float:
    """Operations of the matrix products, convolutions and attention inside a call; an addition and a product are two.

    What the call computes must not require gradients of parameters that it takes views of, unless it also runs
    backward: the counter takes such views for results.
    """
    with FlopCounterMode(display=False, custom_mapping=_FORMULAS) as counter:
        function()
    return float(counter.get_total_flops())
