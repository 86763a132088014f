"""Facts of a model, without paths."""

import json
from pathlib import Path

from hyperct_pipeline.evaluation.model_card import model_card
from hyperct_pipeline.model.backbone import DINOV3_LICENCE_NOTICE
from hyperct_pipeline.model.settings import BackboneConfig, HyperCTConfig
from hyperct_pipeline.training.checkpoint import untrained_package
from hyperct_pipeline.volumes.slices import SliceConfig

BACKBONE = BackboneConfig(name="vit_small_patch16_dinov3_qkvb", img_size=(32, 32), embed_dim=32, depth=2, num_heads=2)


def test_card_is_json_and_names_no_path(tmp_path: Path) -> None:
    model = HyperCTConfig(rank=3, task_dim=8, latent=16, head_in=12)
    package = untrained_package(BACKBONE, model, SliceConfig(crop_yx=(32, 32)), {"a": "cardiac"}, "d1")
    card = model_card(package)
    assert json.loads(json.dumps(card)) == card
    assert card["trained_parameters"] == sum(p.numel() for p in package.model.parameters() if p.requires_grad)
    assert card["parameters"] > card["trained_parameters"]
    assert card["licence_notice"] == ""
    local = BackboneConfig(**vars(BACKBONE) | {"weights": str(tmp_path / "w.safetensors")})
    from_file = model_card(type(package)(**vars(package) | {"backbone_config": local}))
    assert str(tmp_path) not in json.dumps(from_file)
    assert from_file["backbone_weights"] == "local file"
    assert from_file["licence_notice"] == DINOV3_LICENCE_NOTICE
