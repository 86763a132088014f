"""Logits of pairs of scan and task, with gradients: adapters once per task, what precedes them once per scan.

Shape letters: B scans, N triplets per scan, M pairs of scan and task, U distinct tasks, K tasks, T tokens, D width,
L adapted blocks, r rank.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from hyperct_pipeline.model.blocks import Linear, attend, finish_block, run_block
from hyperct_pipeline.model.lora import Adapters, LowRankLinears, SharedProducts, check_adapters
from hyperct_pipeline.model.precision import compute_type
from hyperct_pipeline.model.task_weights import shared_products

if TYPE_CHECKING:
    from hyperct_pipeline.model.hyperct import HyperCT

AdaptersOfBlock = Callable[[int], Adapters]
"""Number of a block to its adapters, one per pair."""


def pair_logits(
    model: "HyperCT",
    triplets: Tensor,
    mask: Tensor,
    task_index: Tensor,
    scan_index: Tensor | None,
    distinct: Tensor | None,
) -> Tensor:
    """Logits (B,) or (M,) of a method whose tasks differ inside the backbone; arguments as `HyperCT.forward` has them.

    The products W x of query, key and value of the first adapted block are computed once per scan.
    """
    tokens, rope = model.before_adapters(triplets)
    task_index, adapters_of = pair_adapters(model, task_index, distinct)
    scan_index = None if scan_index is None else scan_index.to(model.device, non_blocking=True)
    linears, begin = model.linears(compute_type(model.precision)), model.first
    if scan_index is not None and len(scan_index) > len(triplets):
        tokens = _first_adapted(model, tokens, rope, mask, linears[begin], adapters_of(begin), scan_index)
        begin += 1
    elif scan_index is not None:
        tokens = _pairs(tokens, mask, scan_index)
    for index in range(begin, len(model.blocks)):
        tokens = model.run_adapted(index, tokens, rope, linears[index], adapters_of(index))
    mask = mask if scan_index is None else mask[scan_index]
    return of_task(model.head.scores(model.cls_features(tokens, len(mask)), mask), task_index)


def last_block_input(model: "HyperCT", triplets: Tensor, mask: Tensor, task_index: Tensor) -> tuple[Tensor, Tensor]:
    """As `HyperCT.last_block_input` has it."""
    blocks, last = model.blocks, len(model.blocks) - 1
    linears = model.linears(torch.float32)
    with torch.no_grad():
        tokens, rope = model.embedded(triplets)
        task_index, adapters_of = pair_adapters(model, task_index)
        for index in range(last):
            update = LowRankLinears(linears[index], adapters_of(index), model.scale)
            tokens = run_block(blocks[index], tokens, rope, update)
        normed = blocks[-1].norm1(tokens)
    with torch.enable_grad():
        normed = normed.detach().requires_grad_()
        update = LowRankLinears(linears[last], adapters_of(last), model.scale)
        attended = attend(blocks[-1], normed, rope, update, cls_only=True)
        tokens = finish_block(blocks[-1], tokens[:, :1], attended, update)
        scores = model.head.scores(model.cls_features(tokens, len(mask)), mask)
        return normed, of_task(scores, task_index)


def pair_adapters(
    model: "HyperCT", task_index: Tensor, distinct: Tensor | None = None
) -> tuple[Tensor, AdaptersOfBlock]:
    """Task numbers on the device, and for each block the adapters of every pair, generated once per task."""
    if task_index.device.type == "cpu":  # on the host, so that the device is not waited for
        numbers = np.unique(task_index.numpy()) if distinct is None else distinct.numpy()
        unique, position = torch.from_numpy(numbers), torch.from_numpy(np.searchsorted(numbers, task_index.numpy()))
    else:
        unique, position = torch.unique(task_index, return_inverse=True)
    unique, position, task_index = (part.to(model.device, non_blocking=True) for part in (unique, position, task_index))
    stacks = {
        site: (a.index_select(0, position).unbind(1), b.index_select(0, position).unbind(1))
        for site, (a, b) in model.adapters(unique).items()
    }
    skipped = 0 if model.design.generator == "none" else model.first

    def adapters_of(index: int) -> Adapters:
        if index < skipped:
            return {}
        adapters = {site: (a[index - skipped], b[index - skipped]) for site, (a, b) in stacks.items()}
        check_adapters(adapters, model.shapes, index)
        return adapters

    return task_index, adapters_of


def of_task(scores: Tensor, task_index: Tensor) -> Tensor:
    """Logits (M,) from (M, 1) of one logit for all tasks, or from (M, K)."""
    if scores.shape[1] == 1:
        return scores.squeeze(1)
    return scores.gather(1, task_index[:, None]).squeeze(1)


def _first_adapted(
    model: "HyperCT", tokens: Tensor, rope: Tensor | None, mask: Tensor, linears: dict[str, Linear], own: Adapters,
    scan_index: Tensor,
) -> Tensor:  # fmt: skip
    """The first adapted block, from scans (B * N, T, D) to pairs (M * N, T, D)."""
    block, cls_only = model.blocks[model.first], model.first == len(model.blocks) - 1
    rest = LowRankLinears(linears, own, model.scale)
    normed = block.norm1(tokens).to(rest.dtype)
    products = {s: _pairs(y, mask, scan_index) for s, y in shared_products(linears, normed, cls_only).items()}
    linear = SharedProducts(rest, products, {s: own[s] for s in products if s in own}, model.scale)
    attended = attend(block, _pairs(normed, mask, scan_index), rope, linear, cls_only)
    tokens = _pairs(tokens[:, :1] if cls_only else tokens, mask, scan_index)
    return finish_block(block, tokens, attended, linear)


def _pairs(x: Tensor, mask: Tensor, scan_index: Tensor) -> Tensor:
    """Rows of scans (B * N, ...) repeated for pairs of scan and task (M * N, ...)."""
    return x.view(*mask.shape, *x.shape[1:])[scan_index].flatten(0, 1)
