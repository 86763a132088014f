"""Weights from elsewhere: transformers' own DINOv3 forward, and checkpoints of the public HyperCT code."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from hyperct_pipeline.errors import WeightsError
from hyperct_pipeline.model.backbone import build_backbone
from hyperct_pipeline.model.hyperct import HyperCT, HyperCTConfig
from hyperct_pipeline.model.public_checkpoint import PUBLIC_ORDER, load_public_checkpoint
from hyperct_pipeline.model.settings import SITES

from .conftest import TINY_BACKBONE, Golden
from .test_backbone import Payload, meta_layout

NAMES = {f"task_{k}": f"Public name {k}" for k in range(25)}


@pytest.fixture
def public(golden: Golden, tmp_path: Path) -> tuple[Path, Path]:
    """The golden weights as the public code would have saved them."""
    hypernetwork = golden.under("w.hyper.")
    hypernetwork["layer_type_encoder.0.weight"] = hypernetwork["layer_type_encoder.0.weight"][
        [SITES.index(site) for site in PUBLIC_ORDER]
    ]
    checkpoint, embeddings = tmp_path / "merged_hypernet_checkpoint.pth", tmp_path / "embeddings.pth"
    state = {"hypernet_state_dict": hypernetwork, "head_state_dict": golden.under("w.head."), "head_attr": "mlp_head"}
    torch.save(state | {"epoch": 3}, checkpoint)
    backwards = list(range(25))[::-1]  # rows in another order than ours
    torch.save(
        {
            "task_names": [NAMES[f"task_{k}"] for k in backwards],
            "embeddings": golden["w.task_embeddings"][backwards],
            "embedding_dim": golden["w.task_embeddings"].shape[1],
        },
        embeddings,
    )
    return checkpoint, embeddings


def fresh(golden: Golden) -> HyperCT:
    model = golden.model(slice_layout="reference")
    for parameter in model.trainable_parameters().values():
        torch.nn.init.constant_(parameter, 7.0)
    return model


def test_public_checkpoint_gives_the_golden_logits(golden: Golden, public: tuple[Path, Path]) -> None:
    model = fresh(golden)
    load_public_checkpoint(model, *public, names=NAMES)
    logits = model(golden.triplets(), golden.all_real(), golden["in.tasks"])
    torch.testing.assert_close(logits, golden["out.logits"], atol=1e-5, rtol=0)


def test_public_checkpoints_that_do_not_fit(golden: Golden, public: tuple[Path, Path], tmp_path: Path) -> None:
    model = fresh(golden)
    with pytest.raises(WeightsError, match=r"embeddings\.pth has no embedding of \['task_0'"):
        load_public_checkpoint(model, *public)
    with pytest.raises(WeightsError, match=r"no `hypernet_state_dict`; found \['embedding_dim'"):
        load_public_checkpoint(model, public[1], public[1], NAMES)
    smaller = HyperCT(
        build_backbone(golden.backbone_config()), model.tasks, replace(model.config, rank=model.config.rank - 1)
    )
    with pytest.raises(WeightsError, match=r"tensors differ, e\.g\. hypernetwork\.heads\.\w+\.bias: expected"):
        load_public_checkpoint(smaller, *public, names=NAMES)
    table = HyperCT(build_backbone(TINY_BACKBONE), ["a"], HyperCTConfig(rank=2, method="task_lora"))
    with pytest.raises(WeightsError, match="the model is task_lora"):
        load_public_checkpoint(table, *public, names=NAMES)
    evil, target = tmp_path / "evil.pth", tmp_path / "ran"
    torch.save({"hypernet_state_dict": Payload(target)}, evil)
    with pytest.raises(WeightsError, match=r"evil\.pth holds more than tensors"):
        load_public_checkpoint(model, evil, public[1], NAMES)
    assert not target.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"mode": "default", "slice_layout": None},
            "head_norm is True, expected False; model.slice_layout is triplets, expected reference",
        ),
        ({"scale": 2.0}, "scale is 2.0, expected 1.0"),
        ({"head_norm": True}, "head_norm is True, expected False"),
        ({"slice_layout": "triplets"}, "slice_layout is triplets, expected reference"),
        ({"adapt_from_block": 1}, "adapt_from_block is 1, expected 0"),
        ({"method": "hyperct_narrow"}, "public checkpoints are of method hyperct, the model is hyperct_narrow"),
        ({"method": "hyperct_shuffled"}, "the model is hyperct_shuffled"),
    ],
)
def test_a_model_that_would_use_the_weights_otherwise(
    golden: Golden, public: tuple[Path, Path], changes: dict[str, object], message: str
) -> None:
    """The tensors fit every one of them."""
    model = fresh(golden)
    other = HyperCT(build_backbone(golden.backbone_config()), model.tasks, replace(model.config, **changes))
    with pytest.raises(WeightsError, match=message):
        load_public_checkpoint(other, *public, names=NAMES)


@pytest.mark.parametrize("layout", ["hf", "meta"])
def test_converted_weights_equal_the_forward_of_transformers(tmp_path: Path, layout: str) -> None:
    """Fused qkv, q and v biases without a k bias, registers, RoPE and layer scale, on a grid that is not square."""
    transformers = pytest.importorskip("transformers", reason="transformers is a development dependency")
    config = transformers.DINOv3ViTConfig(
        hidden_size=32, intermediate_size=128, num_hidden_layers=3, num_attention_heads=2, patch_size=16,
        num_register_tokens=4, image_size=32, layer_norm_eps=1e-5,
    )  # fmt: skip
    reference = transformers.DINOv3ViTModel(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in reference.named_parameters():
            centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            parameter.normal_(centre, 0.2, generator=generator)
    state, file = reference.state_dict(), tmp_path / "model.safetensors"
    if layout == "hf":
        save_file({name: value.contiguous() for name, value in state.items()}, file)
    else:
        backbone = build_backbone(TINY_BACKBONE)
        hf = tmp_path / "hf.safetensors"
        save_file({name: value.contiguous() for name, value in state.items()}, hf)
        backbone = build_backbone(replace(TINY_BACKBONE, weights=str(hf)))
        save_file(meta_layout(backbone.state_dict()), file)
    shape = (32, 64)
    backbone = build_backbone(replace(TINY_BACKBONE, img_size=shape, weights=str(file)))
    images = torch.randn(3, 3, *shape, generator=generator)
    with torch.no_grad():
        expected = reference(images).last_hidden_state
        torch.testing.assert_close(backbone.forward_features(images), expected, atol=1e-5, rtol=1e-5)


def test_published_start() -> None:
    """Heads of std 0.01 whose bias is zero for B: the first update is not zero, and tasks hardly differ."""
    model = HyperCT(build_backbone(TINY_BACKBONE), [str(k) for k in range(25)], HyperCTConfig(rank=4, mode="reference"))
    head, entries_of_a = model.hypernetwork.heads["mlp_up"], 4 * 32
    assert head.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert head.bias[:entries_of_a].std().item() == pytest.approx(0.01, rel=0.2)
    assert not head.bias[entries_of_a:].any()
    assert model.task_embeddings.std().item() == pytest.approx(0.02, rel=0.05)
    assert all((b @ a).abs().max() > 0 for a, b in model.eval().adapters(torch.arange(3)).values())
