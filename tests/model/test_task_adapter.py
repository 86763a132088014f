"""Exported adapters, loaded by PEFT onto the same backbone, give the same logits."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from hyperct_pipeline.errors import ConfigError
from hyperct_pipeline.model.backbone import build_backbone, empty_backbone
from hyperct_pipeline.model.hyperct import HyperCT
from hyperct_pipeline.model.task_adapter import TaskAdapter, merged_weights, peft_adapter, task_head

from .conftest import TINY_BACKBONE, Golden
from .test_methods import model_of

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")


def written(folder: Path, adapter: TaskAdapter) -> str:
    save_file(adapter.tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(adapter.config))
    return str(folder)


def logit(features: Tensor, head: dict[str, Tensor]) -> Tensor:
    """The head on CLS tokens (N, D) of a scan."""
    normed = nn.functional.layer_norm(
        features.mean(dim=0), features.shape[-1:], head["norm.weight"], head["norm.bias"], 1e-5
    )
    return nn.functional.linear(normed, head["linear.weight"], head["linear.bias"])


def own_logit(model: HyperCT, images: Tensor, task: int) -> Tensor:
    mask = torch.ones(1, len(images), dtype=torch.bool)
    return model.logits_all_tasks(images[None], mask)[0, task : task + 1]


@pytest.mark.slow  # importing peft takes ten seconds
@pytest.mark.parametrize("changes", [{"scale": 0.5}, {"method": "mtlora"}, {"adapt_from_block": 1}])
def test_timm_layout(tmp_path: Path, changes: dict[str, Any], tiny_input: tuple[Tensor, Tensor]) -> None:
    peft = pytest.importorskip("peft", reason="peft is a development dependency")
    model = model_of(**changes)
    adapter = peft_adapter(model, "c", "timm")
    loaded = peft.PeftModel.from_pretrained(build_backbone(TINY_BACKBONE), written(tmp_path, adapter))
    features = loaded.merge_and_unload()(tiny_input[0][0])
    found = logit(features, adapter.head)
    torch.testing.assert_close(found, own_logit(model, tiny_input[0][0], 2), atol=1e-5, rtol=0)


@pytest.mark.slow
def test_hf_layout_on_the_golden_weights(tmp_path: Path, golden: Golden) -> None:
    peft, transformers = pytest.importorskip("peft"), pytest.importorskip("transformers")
    model, sizes = golden.model(), golden.sizes
    config = transformers.DINOv3ViTConfig(
        hidden_size=int(sizes["D"]), intermediate_size=int(sizes["I"]), num_hidden_layers=int(sizes["L"]),
        num_attention_heads=int(sizes["H"]), patch_size=16, num_register_tokens=4, image_size=int(sizes["img"]),
    )  # fmt: skip
    reference = transformers.DINOv3ViTModel(config).eval()
    renamed = {("model." + k if k.startswith("layer.") else k): v for k, v in golden.under("w.enc.").items()}
    reference.load_state_dict(renamed, strict=False)
    adapter = peft_adapter(model, "task_7", "hf", int(transformers.__version__.split(".")[0]))
    loaded = peft.PeftModel.from_pretrained(reference, written(tmp_path, adapter)).eval()
    images = golden.triplets()[0]
    with torch.no_grad():
        found = logit(loaded(images).last_hidden_state[:, 0], adapter.head)
    torch.testing.assert_close(found, own_logit(model, images, 7), atol=1e-5, rtol=0)


@pytest.mark.parametrize("method", ["hyperct", "mtlora", "hard_sharing"])
def test_merged_weights_in_timm_s_own_model(method: str, tiny_input: tuple[Tensor, Tensor]) -> None:
    model = model_of(method=method)
    backbone = empty_backbone(TINY_BACKBONE)
    backbone.load_state_dict(merged_weights(model, "b"))
    with torch.no_grad():
        found = logit(backbone(tiny_input[0][0]), task_head(model, "b"))
    torch.testing.assert_close(found, own_logit(model, tiny_input[0][0], 1), atol=1e-5, rtol=0)


def test_what_cannot_be_exported() -> None:
    with pytest.raises(ConfigError, match="no task 'z'; it has a, b, c, d"):
        peft_adapter(model_of(), "z")
    with pytest.raises(ConfigError, match="linear_probe has no adapters"):
        peft_adapter(model_of(method="linear_probe"), "a")
    with pytest.raises(ConfigError, match="weighs triplets"):
        task_head(model_of(method="attention_probe"), "a")
