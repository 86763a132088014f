"""What a task has learned, in layouts that other tools read: PEFT adapters, and weights with the update merged in.

A PEFT folder holds `adapter_model.safetensors`, `adapter_config.json` and, because PEFT knows no such thing, the
classification head as `head.safetensors`: LayerNorm and linear on the masked mean of the CLS tokens.

| layout | backbone | note |
|---|---|---|
| hf | transformers `DINOv3ViTModel` | query, key and value are modules of their own: ranks as trained |
| timm | the timm model | one adapter on the fused qkv, of three times the rank; timm adds the biases of its `_qkvb` models around the module, so the adapter counts only after `merge_and_unload()` |
"""  # noqa: E501

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from hyperct_pipeline.errors import ConfigError
from hyperct_pipeline.model.blocks import site_modules
from hyperct_pipeline.model.hyperct import AllAdapters, HyperCT
from hyperct_pipeline.model.settings import SITES

PeftLayout = Literal["hf", "timm"]

_HF_MODULES = {
    "attention_query": "attention.q_proj",
    "attention_key": "attention.k_proj",
    "attention_value": "attention.v_proj",
    "attention_output": "attention.o_proj",
    "mlp_up": "mlp.up_proj",
    "mlp_down": "mlp.down_proj",
}
_QKV = SITES[:3]
_PREFIX = "base_model.model."


@dataclass(frozen=True, eq=False)
class TaskAdapter:
    """One task in PEFT's layout."""

    tensors: dict[str, Tensor]  # "<module>.lora_A.weight" (r, n_in) and "<module>.lora_B.weight" (n_out, r)
    config: dict[str, Any]  # PEFT's LoraConfig as JSON
    head: dict[str, Tensor]  # norm.weight, norm.bias (D,), linear.weight (1, D), linear.bias (1,)


@torch.no_grad()
def peft_adapter(model: HyperCT, task: str, layout: PeftLayout = "hf", transformers_major: int = 5) -> TaskAdapter:
    """The adapter of a task.

    Args:
        layout: which backbone it goes onto.
        transformers_major: transformers 5 nests the blocks as `model.layer`, 4 has them as `layer`.

    Raises:
        ConfigError: the model has no such task, no adapters, or a head that reads no mean.
    """
    if model.design.generator == "none":
        raise ConfigError(f"method {model.config.method} has no adapters to export")
    generated, first = _generated(model, task), model.config.adapt_from_block
    nested = "model." if transformers_major >= 5 else ""
    tensors: dict[str, Tensor] = {}
    for number in range(model.n_adapted_blocks):
        own = {site: (a[0, number], b[0, number]) for site, (a, b) in generated.items()}
        if layout == "hf":
            named = {f"{nested}layer.{first + number}.{_HF_MODULES[site]}": pair for site, pair in own.items()}
        else:
            named = _timm_pairs(model, own, first + number)
        for module, (a, b) in named.items():
            tensors[f"{_PREFIX}{module}.lora_A.weight"] = a.float().cpu().contiguous()
            tensors[f"{_PREFIX}{module}.lora_B.weight"] = b.float().cpu().contiguous()
    return TaskAdapter(tensors, _config(tensors, model.scale), task_head(model, task))


@torch.no_grad()
def merged_weights(model: HyperCT, task: str) -> dict[str, Tensor]:
    """The timm backbone's state dict with W + s B A of a task in place of W; its forward needs nothing of ours.

    Raises:
        ConfigError: the model has no such task.
    """
    state = {name: value.detach().clone().cpu() for name, value in model.backbone.state_dict().items()}
    if model.design.generator == "none":
        return state
    generated, first = _generated(model, task), model.config.adapt_from_block
    width = int(model.backbone.embed_dim)
    for number in range(model.n_adapted_blocks):
        modules = site_modules(first + number)
        for site, (a, b) in generated.items():
            change = (model.scale * b[0, number] @ a[0, number]).cpu()
            weight = state[f"{modules[site]}.weight"]
            start = _QKV.index(site) * width if site in _QKV else 0
            weight[start : start + len(change)] += change
    return state


@torch.no_grad()
def task_head(model: HyperCT, task: str) -> dict[str, Tensor]:
    """LayerNorm and the linear of one task, on the mean of the CLS tokens."""
    number = _number(model, task)
    head: Any = model.head
    if model.design.head == "attention":
        raise ConfigError("the attention probe weighs triplets: its head has no PEFT form")
    norm, linear = head[0], head[1]
    row = slice(0, 1) if model.design.head == "shared" else slice(number, number + 1)
    named = {
        "norm.weight": norm.weight,
        "norm.bias": norm.bias,
        "linear.weight": linear.weight[row],
        "linear.bias": linear.bias[row],
    }
    return {name: value.detach().cpu().clone() for name, value in named.items()}


def _number(model: HyperCT, task: str) -> int:
    if task not in model.tasks:
        raise ConfigError(f"the model has no task '{task}'; it has {', '.join(model.tasks)}")
    return model.tasks.index(task)


def _generated(model: HyperCT, task: str) -> AllAdapters:
    index = torch.tensor([_number(model, task)], device=model.device)
    return model.eval().adapters(index)


def _timm_pairs(model: HyperCT, own: dict[str, tuple[Tensor, Tensor]], index: int) -> dict[str, tuple[Tensor, Tensor]]:
    """A and B per timm module; query, key and value become one pair: A stacked, B block-diagonal."""
    modules, width = site_modules(index), int(model.backbone.embed_dim)
    pairs = {modules[site]: pair for site, pair in own.items() if site not in _QKV}
    if present := [site for site in _QKV if site in own]:
        rank = own[present[0]][0].shape[0]
        b = own[present[0]][1].new_zeros(3 * width, rank * len(present))
        for column, site in enumerate(present):
            row = _QKV.index(site) * width
            b[row : row + width, column * rank : (column + 1) * rank] = own[site][1]
        pairs[modules[present[0]]] = (torch.cat([own[site][0] for site in present]), b)
    return pairs


def _config(tensors: dict[str, Tensor], scale: float) -> dict[str, Any]:
    """PEFT multiplies B A by lora_alpha / r; ranks that differ stand in patterns."""
    ranks = {key.removeprefix(_PREFIX).removesuffix(".lora_A.weight"): len(value) for key, value in tensors.items()
             if key.endswith("lora_A.weight")}  # fmt: skip
    usual = min(ranks.values())
    suffixes = {module: ".".join(module.split(".")[-2:]) for module in ranks}
    patterns = {suffixes[module]: rank for module, rank in ranks.items() if rank != usual}
    return {
        "peft_type": "LORA",
        "task_type": None,
        "inference_mode": True,
        "r": usual,
        "lora_alpha": scale * usual,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "target_modules": sorted(ranks),
        "rank_pattern": patterns,
        "alpha_pattern": {suffix: scale * rank for suffix, rank in patterns.items()},
    }
