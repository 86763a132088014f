"""The published setting of HyperCT beyond `model.mode: reference`, and where a configuration departs from it.

Source: HyperCT (arXiv 2604.03224) and its public code, commit 06a5509. `mode` sets how the model starts and how slices
become images; sizes, grid, layout and training are groups of their own.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from hyperct_pipeline.model.settings import SITES, HyperCTConfig

PUBLISHED: dict[str, dict[str, Any]] = {
    "preprocess": {"shape_zyx": (164, 164, 164), "spacing_mm": None, "window_hu": (-1000, 1000)},
    "slices": {"crop_yx": (144, 144), "n_triplets": 55, "window_hu": (-1000, 1000), "layout": "reference"},
    "backbone": {
        "name": "vit_base_patch16_dinov3", "weights": "hub", "img_size": (144, 144), "patch_size": 16,
        "embed_dim": 768, "depth": 12, "num_heads": 12,
    },
    "model": {
        "method": "hyperct", "rank": 16, "scale": 1.0, "task_dim": 512, "latent": 128, "dropout": 0.05,
        "sites": SITES, "adapt_from_block": 0, "generator": "full", "head": "shared", "head_in": 768,
        "init": "reference", "embedding_std": 0.02, "head_norm": False, "slice_layout": "reference",
    },
    "fit": {
        "epochs": 20, "batch_size": 8, "tasks_per_scan": 1, "lr": 1e-5, "betas": (0.9, 0.95), "weight_decay": 0.0,
        "clip_norm": None, "warmup_steps": 0, "loss_weighting": "equal", "class_balance": "none", "ema_decay": None,
        "patience": None, "precision": "fp32",
    },
}  # fmt: skip
"""Group of parameters -> key -> published value."""

_OWN_OF_MODEL = ("patch_size", "embed_dim", "depth", "num_heads")  # null: as the timm model has them
_BY_METHOD_AND_MODE = ("generator", "head", "head_in", "init", "embedding_std", "head_norm", "slice_layout")


class Departure(NamedTuple):
    """A key that stands against the published setting."""

    group: str
    key: str
    value: Any
    published: Any


def departures(groups: Mapping[str, object]) -> list[Departure]:
    """Keys whose value is not the published one, in the order of `PUBLISHED`; none unless `model.mode` is reference.

    Args:
        groups: the checked configuration of each group of `PUBLISHED`.
    """
    model = groups["model"]
    assert isinstance(model, HyperCTConfig)
    if model.mode != "reference":
        return []
    found = []
    for group, keys in PUBLISHED.items():
        for key, published in keys.items():
            source = model.design if group == "model" and key in _BY_METHOD_AND_MODE else groups[group]
            value = getattr(source, key)
            if not _is_published(group, key, value):
                found.append(Departure(group, key, value, published))
    return found


def _is_published(group: str, key: str, value: Any) -> bool:
    if group == "backbone" and key == "name":  # with and without q and v biases, which are zero
        return value in {PUBLISHED[group][key], f"{PUBLISHED[group][key]}_qkvb"}
    if group == "backbone" and key == "weights":  # a local file of pretrained weights is as good
        return bool(value != "random")
    if group == "backbone" and key in _OWN_OF_MODEL and value is None:
        return True
    return bool(value == PUBLISHED[group][key])
