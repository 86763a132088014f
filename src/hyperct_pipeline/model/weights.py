"""DINOv3 weight files: the three layouts in circulation, converted to timm's names.

| layout | attention | registers | layer scale |
|---|---|---|---|
| timm | attn.qkv.weight, attn.q_bias, attn.v_bias | reg_token | gamma_1 |
| Meta | attn.qkv.weight, attn.qkv.bias | storage_tokens | ls1.gamma |
| HF (transformers DINOv3ViTModel) | attention.{q,k,v}_proj | embeddings.register_tokens | layer_scale1.lambda1 |
"""

import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from hyperct_pipeline.errors import WeightsError

# Only needed to pretrain, or computed by timm itself.
_UNUSED = re.compile(r"(^|\.)(mask_token|rope.*|periods|bias_mask|inv_freq|local_cls_norm.*|projectors\..*|head\..*)$")

_META_NAMES = {"storage_tokens": "reg_token", "ls1.gamma": "gamma_1", "ls2.gamma": "gamma_2"}

_HF_NAMES = {
    "embeddings.cls_token": "cls_token",
    "embeddings.register_tokens": "reg_token",
    "embeddings.patch_embeddings.": "patch_embed.proj.",
    "layer_scale1.lambda1": "gamma_1",
    "layer_scale2.lambda1": "gamma_2",
    "attention.o_proj.": "attn.proj.",
    "attention.q_proj.bias": "attn.q_bias",
    "attention.v_proj.bias": "attn.v_bias",
    "mlp.up_proj.": "mlp.fc1.",
    "mlp.down_proj.": "mlp.fc2.",
}


def load_backbone_weights(backbone: nn.Module, file: Path) -> None:
    """Fill a timm ViT from a local file in its own layout, a DINOv3 also in Meta's or HF's.

    Raises WeightsError when the file is not readable as safetensors or .pth, or does not fit the architecture.
    """
    stored, expected = read_weights(file), backbone.state_dict()
    if expected.keys() <= stored.keys():  # timm's own names, whatever the ViT
        state = {key: value for key, value in stored.items() if key in expected or not _UNUSED.search(key)}
    else:
        state = to_timm_layout(stored)
    state = fit_to_biases(state, backbone)
    problems = _differences(state, expected)
    if problems:
        raise WeightsError(f"{file.name} does not fit backbone {type(backbone).__name__}: {'; '.join(problems)}")
    backbone.load_state_dict(state)


def read_weights(file: Path) -> dict[str, Tensor]:
    """Tensors of a .safetensors file, or of a .pth file read with torch's restricted unpickler.

    `weights_only=True` builds tensors and plain containers and refuses everything that would run code.
    """
    if file.suffix == ".safetensors":
        try:
            return load_file(file)
        except safetensors.SafetensorError as error:
            raise WeightsError(f"{file.name} is not a readable safetensors file: {error}") from error
    if file.suffix in {".pth", ".pt"}:
        return _read_restricted_pickle(file)
    raise WeightsError(f"{file.name}: expected .safetensors, or Meta's .pth; found '{file.suffix}'")


def _read_restricted_pickle(file: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise WeightsError(f"{file.name} holds more than tensors or is broken, and is refused") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{file.name}: expected one flat mapping of names to tensors")
    return state


def to_timm_layout(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename and fuse the tensors of any of the three layouts to timm's; unknown names are kept as they are."""
    if any(key.endswith("attention.q_proj.weight") for key in state):
        return _from_hf(state)
    return _from_meta_or_timm(state)


def _from_meta_or_timm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    converted: dict[str, Tensor] = {}
    for key, value in state.items():
        if _UNUSED.search(key):
            continue
        if key.endswith("attn.qkv.bias"):
            prefix = key.removesuffix("qkv.bias")
            converted[prefix + "q_bias"], _, converted[prefix + "v_bias"] = value.chunk(3)  # k has no bias
            continue
        for old, new in _META_NAMES.items():
            key = key.replace(old, new)
        converted[key] = value
    return converted


def _from_hf(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    converted: dict[str, Tensor] = {}
    for key, value in state.items():
        name = key.removeprefix("model.")  # transformers 5 nests the blocks
        if _UNUSED.search(name) or name.endswith(("k_proj.weight", "v_proj.weight")):
            continue
        if name.endswith("q_proj.weight"):
            value = torch.cat([state[key.replace("q_proj", f"{part}_proj")] for part in "qkv"])
            name = name.replace("attention.q_proj", "attn.qkv")
        name = re.sub(r"^layer\.", "blocks.", name)
        for old, new in _HF_NAMES.items():
            name = name.replace(old, new)
        converted[name] = value
    return converted


def fit_to_biases(state: dict[str, Tensor], backbone: nn.Module) -> dict[str, Tensor]:
    """Drop all-zero q and v biases where the model has none.

    timm has each DINOv3 model with (`_qkvb`) and without these biases, because in the distilled models they
    are zero. A bias that is not zero stays and is then reported as a tensor that does not fit.
    """
    expected = backbone.state_dict()
    return {
        key: value
        for key, value in state.items()
        if key in expected or not key.endswith(("attn.q_bias", "attn.v_bias")) or bool(value.any())
    }


def _differences(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    missing, surplus = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
    wrong = [key for key in sorted(expected.keys() & state.keys()) if state[key].shape != expected[key].shape]
    problems = []
    if missing:
        problems.append(f"{len(missing)} tensors missing, e.g. {missing[:3]}")
    if surplus:
        problems.append(f"{len(surplus)} unknown tensors, e.g. {surplus[:3]}")
    if wrong:
        key = wrong[0]
        problems.append(
            f"{len(wrong)} shapes differ, e.g. {key}: expected {tuple(expected[key].shape)}, "
            f"found {tuple(state[key].shape)}"
        )
    return problems
