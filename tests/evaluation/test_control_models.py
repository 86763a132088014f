"""Controls share the shape of the model and none of its numbers."""

import itertools

import numpy as np
import pytest
import torch

from hyperct_pipeline.evaluation.control_models import N_UNTRAINED, random_model, untrained_model, untrained_models
from hyperct_pipeline.model.settings import BackboneConfig, HyperCTConfig
from hyperct_pipeline.training.checkpoint import ModelPackage, untrained_package
from hyperct_pipeline.volumes.slices import SliceConfig


@pytest.fixture(scope="module")
def started() -> ModelPackage:
    """A model at its own start, the published one: the nearest that a trained model can be to a control."""
    backbone = BackboneConfig(
        name="vit_small_patch16_dinov3_qkvb", img_size=(32, 32), embed_dim=32, depth=2, num_heads=2
    )
    model = HyperCTConfig(rank=2, task_dim=16, latent=16, head_in=16, init="reference")
    groups = {"bright": "radiological", "dark": "cardiac"}
    return untrained_package(backbone, model, SliceConfig(crop_yx=(32, 32), n_triplets=3), groups, "d1")


def _drawn(model: torch.nn.Module, of_backbone: bool) -> dict[str, torch.Tensor]:
    """Weights that were drawn at random, of the frozen backbone or of the rest."""
    return {
        name: value
        for name, value in model.state_dict().items()
        if name.startswith("backbone.") == of_backbone and value.numel() > 1 and value.std() > 0 and "rope" not in name
    }


def _assert_unrelated(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert not torch.equal(value, other[name])
        if value.numel() >= 64:
            correlation = np.corrcoef(value.flatten().numpy(), other[name].flatten().numpy())[0, 1]
            assert abs(correlation) < 5.0 / np.sqrt(value.numel()), name


def test_an_untrained_control_starts_from_numbers_of_its_own(started: ModelPackage) -> None:
    own, control = started.model, untrained_model(started)
    assert len(_drawn(own, of_backbone=False)) >= 10
    _assert_unrelated(_drawn(own, of_backbone=False), _drawn(control, of_backbone=False))
    assert control.backbone is own.backbone


def test_the_untrained_controls_differ_from_each_other(started: ModelPackage) -> None:
    weights = [_drawn(control, of_backbone=False) for control in untrained_models(started)]
    assert len(weights) == N_UNTRAINED
    for one, other in itertools.combinations(weights, 2):
        _assert_unrelated(one, other)
    again = _drawn(untrained_model(started, 2), of_backbone=False)
    assert all(torch.equal(value, again[name]) for name, value in weights[1].items())


def test_the_random_model_shares_no_weight_with_the_model(started: ModelPackage) -> None:
    random = random_model(started)
    for of_backbone in (True, False):
        _assert_unrelated(_drawn(started.model, of_backbone), _drawn(random, of_backbone))
    assert len([name for name in _drawn(random, of_backbone=True) if name.startswith("backbone.blocks.")]) >= 8
