"""Backbones: random ones, weight files in three layouts, and every way in which weights can be missing."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from pydantic import TypeAdapter, ValidationError
from safetensors.torch import save_file
from torch import Tensor

from hyperct_pipeline.errors import WeightsError
from hyperct_pipeline.model import backbone as backbone_module
from hyperct_pipeline.model.backbone import DINOV3_LICENCE_NOTICE, BackboneConfig, build_backbone

from .conftest import TINY_BACKBONE, Golden

IMAGES = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_frozen_in_eval_mode_and_the_same_for_the_same_seed() -> None:
    state = torch.get_rng_state()
    first, second = build_backbone(TINY_BACKBONE), build_backbone(TINY_BACKBONE)
    assert torch.equal(state, torch.get_rng_state())
    assert not first.training and not any(parameter.requires_grad for parameter in first.parameters())
    assert torch.equal(first(IMAGES), second(IMAGES))
    assert not torch.equal(first(IMAGES), build_backbone(replace(TINY_BACKBONE, seed=1))(IMAGES))


def test_random_weights_let_images_reach_the_cls_token() -> None:
    """timm's own start makes every block the identity, and the CLS token the same for all images."""
    spread = build_backbone(TINY_BACKBONE)(IMAGES).std(dim=0).mean()
    assert 0.1 < spread.item() < 1.0


def test_sizes_override_the_named_model() -> None:
    backbone = build_backbone(replace(TINY_BACKBONE, patch_size=8, depth=2))
    assert backbone.patch_embed.grid_size == (4, 4) and len(backbone.blocks) == 2
    assert backbone.num_prefix_tokens == 5  # CLS and four registers


def meta_layout(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights as Meta names them."""
    renamed = {"reg_token": "storage_tokens", "gamma_1": "ls1.gamma", "gamma_2": "ls2.gamma"}
    out = {"mask_token": torch.zeros(1, 32), "rope_embed.periods": torch.ones(4)}
    for key, value in state.items():
        if key.endswith("q_bias"):
            prefix = key.removesuffix("q_bias")
            parts = [value, torch.zeros_like(value), state[prefix + "v_bias"]]
            out[prefix + "qkv.bias"] = torch.cat(parts)
            out[prefix + "qkv.bias_mask"] = torch.ones(3 * len(value))
        elif not key.endswith("v_bias"):
            for old, new in renamed.items():
                key = key.replace(old, new)
            out[key] = value
    return out


@pytest.fixture
def trained() -> dict[str, Tensor]:
    backbone = build_backbone(replace(TINY_BACKBONE, seed=9))
    with torch.no_grad():
        for block in backbone.blocks:
            block.attn.q_bias.normal_(generator=torch.Generator().manual_seed(0))
    return backbone.state_dict()


@pytest.mark.parametrize("layout", ["timm", "meta"])
def test_files_in_timm_and_meta_layout(tmp_path: Path, trained: dict[str, Tensor], layout: str) -> None:
    file = tmp_path / "weights.safetensors"
    save_file(trained if layout == "timm" else meta_layout(trained), file)
    loaded = build_backbone(replace(TINY_BACKBONE, weights=str(file))).state_dict()
    assert loaded.keys() == trained.keys()
    assert all(torch.equal(loaded[key], trained[key]) for key in trained)


def test_meta_pth_is_read_without_running_code(tmp_path: Path, trained: dict[str, Tensor]) -> None:
    file = tmp_path / "dinov3.pth"
    torch.save(meta_layout(trained), file)
    loaded = build_backbone(replace(TINY_BACKBONE, weights=str(file)))
    assert torch.equal(loaded.blocks[0].attn.q_bias, trained["blocks.0.attn.q_bias"])


class Payload:
    """Unpickling would call open()."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.target), "w")


def test_pth_with_code_in_it_is_refused(tmp_path: Path) -> None:
    file, target = tmp_path / "evil.pth", tmp_path / "ran"
    torch.save({"x": Payload(target)}, file)
    with pytest.raises(WeightsError, match=r"evil\.pth holds more than tensors"):
        build_backbone(replace(TINY_BACKBONE, weights=str(file)))
    assert not target.exists()


@pytest.mark.parametrize("nested", [False, True])
def test_file_in_hf_layout(tmp_path: Path, golden: Golden, nested: bool) -> None:
    """Names of transformers 4 and 5; the fused weight is query, key, value in this order."""
    state = golden.under("w.enc.")
    if nested:
        state = {("model." + k if k.startswith("layer.") else k): v for k, v in state.items()}
    file = tmp_path / "model.safetensors"
    save_file(state, file)
    block = build_backbone(replace(golden.backbone_config(), weights=str(file))).blocks[1].attn
    names = [f"w.enc.layer.1.attention.{part}_proj.weight" for part in "qkv"]
    assert torch.equal(block.qkv.weight, torch.cat([golden[name] for name in names]))
    assert torch.equal(block.v_bias, golden["w.enc.layer.1.attention.v_proj.bias"])


def test_zero_biases_fit_a_model_without_them(tmp_path: Path, trained: dict[str, Tensor]) -> None:
    plain = replace(TINY_BACKBONE, name="vit_small_patch16_dinov3")
    file = tmp_path / "weights.safetensors"
    zeroed = {k: torch.zeros_like(v) if k.endswith(("q_bias", "v_bias")) else v for k, v in trained.items()}
    save_file(zeroed, file)
    assert build_backbone(replace(plain, weights=str(file))).blocks[0].attn.q_bias is None
    save_file(trained, file)
    with pytest.raises(WeightsError, match=r"unknown tensors, e\.g\. .*q_bias"):
        build_backbone(replace(plain, weights=str(file)))


def test_weights_of_another_size_say_what_differs(tmp_path: Path, trained: dict[str, Tensor]) -> None:
    file = tmp_path / "weights.safetensors"
    save_file(trained, file)
    with pytest.raises(WeightsError, match=r"shapes differ, e.g. .*expected \(.*found \("):
        build_backbone(replace(TINY_BACKBONE, embed_dim=64, weights=str(file)))
    with pytest.raises(WeightsError, match=r"tensors missing, e\.g\. .*blocks\.3"):
        build_backbone(replace(TINY_BACKBONE, depth=4, weights=str(file)))


def test_missing_and_broken_files(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no weight file at .*Fetch model\.safetensors"):
        build_backbone(replace(TINY_BACKBONE, weights=str(tmp_path / "absent.safetensors")))
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    with pytest.raises(WeightsError, match=r"torn\.safetensors is not a readable safetensors file"):
        build_backbone(replace(TINY_BACKBONE, weights=str(tmp_path / "torn.safetensors")))
    (tmp_path / "model.bin").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"expected \.safetensors"):
        build_backbone(replace(TINY_BACKBONE, weights=str(tmp_path / "model.bin")))


def test_offline_hub_names_the_file_to_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(repository: str, file: str) -> str:
        raise LocalEntryNotFoundError(f"no network for {repository}/{file}")

    monkeypatch.setattr(backbone_module, "hf_hub_download", offline)
    with pytest.raises(WeightsError) as caught:
        build_backbone(BackboneConfig(weights="hub"))
    for part in ("vit_base_patch16_dinov3_qkvb.lvd1689m", "model.safetensors", "backbone.weights=PATH"):
        assert part in str(caught.value)


def test_licence_is_stated_where_weights_are_loaded(
    tmp_path: Path, trained: dict[str, Tensor], caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "weights.safetensors"
    save_file(trained, file)
    with caplog.at_level("INFO"):
        build_backbone(replace(TINY_BACKBONE, weights=str(file)))
    assert caplog.messages.count(DINOV3_LICENCE_NOTICE) == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"weights": ""}, "weights is empty"),
        ({"depth": 0}, "at least 1"),
        ({"img_size": (60, 64), "patch_size": 16}, "not a multiple"),
        ({"nmae": "x"}, "Unexpected keyword"),
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(BackboneConfig).validate_python(wrong)


def test_unknown_and_foreign_models_are_refused() -> None:
    with pytest.raises(ValueError, match="no model 'vit_nope'"):
        build_backbone(BackboneConfig(name="vit_nope"))
    with pytest.raises(ValueError, match="not a ViT with a CLS token"):
        build_backbone(BackboneConfig(name="resnet18"))
