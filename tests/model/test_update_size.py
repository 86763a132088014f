"""Sizes of the updates against products that are really formed."""

import pytest
import torch

from hyperct_pipeline.model.blocks import adaptable_blocks, site_linears
from hyperct_pipeline.model.hyperct import HyperCT
from hyperct_pipeline.model.update_size import update_sizes


def test_sizes_equal_the_dense_products(tiny_model: HyperCT) -> None:
    sizes = update_sizes(tiny_model)
    adapters = tiny_model.adapters(torch.arange(4))
    total = common = 0.0
    for site, (a, b) in adapters.items():
        dense = (b @ a).detach()  # (task, block, n_out, n_in)
        weights = torch.stack([site_linears(block)[site].weight for block in adaptable_blocks(tiny_model.backbone)])
        ratio = dense.square().sum(dim=(2, 3)) / weights.square().sum(dim=(1, 2))
        assert sizes[f"update_size/{site}"] == pytest.approx(ratio.mean().sqrt().item(), rel=1e-4)
        total += dense.square().sum().item() / 4
        common += dense.mean(dim=0).square().sum().item()
    assert sizes["between_task_share"] == pytest.approx(1 - common / total, rel=1e-4)


def test_same_adapter_for_all_tasks_has_no_share_between_them(tiny_model: HyperCT) -> None:
    with torch.no_grad():
        tiny_model.task_embeddings[:] = tiny_model.task_embeddings[0]
    assert update_sizes(tiny_model)["between_task_share"] == pytest.approx(0.0, abs=1e-5)
