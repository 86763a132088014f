"""A map that any network draws is told from one of the model and the task."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hyperct_pipeline.evaluation.saliency_checks import rank_correlation, saliency_check, swapped_task
from hyperct_pipeline.model.backbone import build_backbone
from hyperct_pipeline.model.settings import BackboneConfig
from hyperct_pipeline.volumes.store import StoredVolume

CPU = torch.device("cpu")


class Turned:
    """A control that finds the evidence of each task where the model finds that of the other."""

    def __init__(self, model: object) -> None:
        self.model, self.n_prefix_tokens, self.grid_hw = model, model.n_prefix_tokens, model.grid_hw

    def to(self, device: torch.device) -> "Turned":
        return self

    def eval(self) -> "Turned":
        return self

    def last_block_input(self, x: torch.Tensor, mask: torch.Tensor, task: torch.Tensor) -> object:
        return self.model.last_block_input(x, mask, 1 - task)


def test_a_model_that_draws_the_same_map_untrained_is_found_out(package: SimpleNamespace, stored: StoredVolume) -> None:
    turned = Turned(package.model)
    same = saliency_check(package, package.model, turned, stored, "bright", CPU)
    assert same.untrained == pytest.approx(1.0)
    assert same.swapped_task == "dark"
    assert same.swapped is not None and same.swapped < 0  # bright where dark is not
    assert same.random == pytest.approx(same.swapped)
    swapped = saliency_check(package, turned, package.model, stored, "bright", CPU)
    assert (swapped.untrained, swapped.random) == (pytest.approx(same.swapped), pytest.approx(1.0))
    assert same.n_patches == 4 * 16  # four triplets were seen
    assert same.row("s1", "bright", "m1") == ("s1", "bright", "dark", 64, 1.0, same.random, same.swapped, "m1")


def test_the_other_task_is_of_the_other_group_where_there_is_one() -> None:
    groups = {"a": "x", "b": "x", "c": "y"}
    assert [swapped_task(("a", "b", "c"), groups, task) for task in "abc"] == ["c", "c", "a"]
    assert swapped_task(("a", "b"), groups, "b") == "a"
    assert swapped_task(("a",), groups, "a") is None


def test_constant_maps_have_no_rank_correlation() -> None:
    assert rank_correlation(np.zeros(5), np.arange(5.0)) is None
    assert rank_correlation(np.arange(5.0), np.arange(5.0) ** 3) == pytest.approx(1.0)


def test_after_the_last_block_patches_have_no_gradient_at_all() -> None:
    # why the maps are taken before the last block's attention: a head on the CLS token reads nothing else
    config = BackboneConfig(name="vit_small_patch16_dinov3_qkvb", img_size=(32, 32), embed_dim=32, depth=2, num_heads=2)
    backbone = build_backbone(config)
    tokens = torch.randn(1, 4 + backbone.num_prefix_tokens, 32, requires_grad=True)
    backbone.norm(tokens)[:, 0].square().sum().backward()
    assert tokens.grad is not None
    assert (tokens.grad[:, backbone.num_prefix_tokens :] == 0).all()
    assert (tokens.grad[:, 0] != 0).any()
