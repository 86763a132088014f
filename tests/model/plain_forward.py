"""The slow way: each pair of scan and task on its own, updates merged into timm's weights, timm's own forward."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import functional_call

from hyperct_pipeline.model.hyperct import HyperCT


def merged_parameters(model: HyperCT, task: int) -> dict[str, Tensor]:
    """timm's parameters with s B A of a task added; autograd leads back to the adapters."""
    adapters = model.adapters(torch.tensor([task]))
    parameters = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    if model.design.generator == "none":
        return dict(model.backbone.named_parameters())
    places = {"attention_output": "attn.proj", "mlp_up": "mlp.fc1", "mlp_down": "mlp.fc2"}
    for number in range(model.n_adapted_blocks):
        prefix = f"blocks.{model.config.adapt_from_block + number}"
        width = model.backbone.embed_dim
        parts = []
        for site in ("attention_query", "attention_key", "attention_value"):
            a, b = adapters.get(site, (torch.zeros(1, number + 1, 1, width), torch.zeros(1, number + 1, width, 1)))
            parts.append(model.scale * b[0, number] @ a[0, number])
        parameters[f"{prefix}.attn.qkv.weight"] = parameters[f"{prefix}.attn.qkv.weight"] + torch.cat(parts)
        for site, place in places.items():
            if site in adapters:
                a, b = adapters[site]
                name = f"{prefix}.{place}.weight"
                parameters[name] = parameters[name] + model.scale * b[0, number] @ a[0, number]
    return parameters


def plain_logits(model: HyperCT, triplets: Tensor, mask: Tensor, scans: Sequence[int], tasks: Sequence[int]) -> Tensor:
    """Logits (M,) of pairs of scan and task."""
    logits = []
    for scan, task in zip(scans, tasks, strict=True):
        images = triplets[scan]
        features = functional_call(model.backbone, merged_parameters(model, task), (images,))  # (N, D)
        scores = model.head.scores(features[None], mask[scan][None])[0]
        logits.append(scores[0 if len(scores) == 1 else task])
    return torch.stack(logits)
