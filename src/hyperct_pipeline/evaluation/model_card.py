"""Facts of a model package for people who decide whether to use it."""

from typing import Any

from hyperct_pipeline.model.backbone import DINOV3_LICENCE_NOTICE
from hyperct_pipeline.training.checkpoint import ModelPackage

INTENDED_USE = (
    "Research on opportunistic screening in non-contrast chest CT. Not a medical device: not for diagnosis, triage "
    "or treatment decisions."
)


def model_card(package: ModelPackage) -> dict[str, Any]:
    """Names, sizes, settings and licence of a model, as plain JSON values."""
    weights = package.backbone_config.weights
    return {
        "model_id": package.model_id,
        "intended_use": INTENDED_USE,
        "tasks": list(package.tasks),
        "task_groups": dict(package.task_groups),
        "backbone": package.backbone_config.name,
        "backbone_weights": weights if weights in ("random", "hub") else "local file",  # never a path
        "parameters": sum(p.numel() for p in package.model.parameters()),
        "trained_parameters": sum(p.numel() for p in package.model.trainable_parameters().values()),
        "rank": package.model_config.rank,
        "crop_yx": list(package.slice_config.crop_yx),
        "n_triplets": package.slice_config.n_triplets,
        "window_hu": list(package.slice_config.window_hu),
        "preprocess_digest": package.preprocess_digest,
        "training": dict(package.training),
        "licence_notice": "" if weights == "random" else DINOV3_LICENCE_NOTICE,
    }
