"""Adapted blocks through torch.compile, without graph breaks and with few graphs."""

from collections.abc import Callable
from types import FunctionType

import torch
from torch import Tensor

from hyperct_pipeline.model.blocks import Linear, TransformerBlock
from hyperct_pipeline.model.lora import Adapters, run_adapted_block

Kind = tuple[bool, bool, bool, tuple[str, ...]]


class CompiledBlocks:
    """`run_adapted_block` of one model, compiled once per kind of call.

    torch allows one code object few graphs (8), and counts those of all models in the process together. Here every
    model, and in it every kind of call, has a code object of its own: the last block against the others, with and
    without gradients, and by the adapted sites. Numbers of scans and triplets are dynamic, so that only a single scan
    or a single image asks for another graph.

    Args:
        backend: of torch.compile.
    """

    def __init__(self, backend: str = "inductor") -> None:
        self._backend = backend
        self._made: dict[Kind, Callable[..., Tensor]] = {}

    def __call__(
        self,
        block: TransformerBlock,
        tokens: Tensor,
        rope: Tensor | None,
        linears: dict[str, Linear],
        adapters: Adapters,
        scale: float,
        cls_only: bool,
    ) -> Tensor:
        """Arguments as `run_adapted_block` has them."""
        kind = (cls_only, torch.is_grad_enabled(), tokens.requires_grad, tuple(sorted(adapters)))
        if kind not in self._made:
            self._made[kind] = torch.compile(_own_copy(), fullgraph=True, dynamic=True, backend=self._backend)
        return self._made[kind](block, tokens, rope, linears, adapters, scale, cls_only)


def _own_copy() -> Callable[..., Tensor]:
    """The function with a code object that nothing else shares."""
    return FunctionType(run_adapted_block.__code__.replace(), run_adapted_block.__globals__)
