"""A trained model with one task more: the embedding of the best epoch among the others, everything else untouched."""

from dataclasses import replace
from typing import Any

import torch

from hyperct_pipeline.errors import ConfigError
from hyperct_pipeline.model.new_task import settled, with_new_task
from hyperct_pipeline.training.checkpoint import ModelPackage, make_package
from hyperct_pipeline.training.dataset import CTStudies
from hyperct_pipeline.training.history import best_epoch, history_row
from hyperct_pipeline.training.loop import fit
from hyperct_pipeline.training.settings import FitConfig


def extended(
    package: ModelPackage,
    task: str,
    group: str,
    train: CTStudies,
    validation: CTStudies,
    config: FitConfig,
) -> ModelPackage:
    """Learn the embedding of a new task.

    Args:
        train, validation: labels (n, K + 1) in which only the last column, the new task, is known.

    Raises:
        ConfigError: as `with_new_task`, or training studies lack one of the classes.
    """
    labels = train.studies.labels[:, -1]
    if not ((labels == 0).any() and (labels == 1).any()):
        missing = "positive" if (labels == 0).any() else "negative"
        raise ConfigError(f"extend.task: no training study is known to be {missing} for '{task}'")
    model = with_new_task(package.model, task)
    rows: dict[str, Any] = {}
    best_embedding = torch.empty(0)
    for epoch in fit(model, train, validation, replace(config, tasks_per_scan=1)):
        rows[epoch.name] = history_row(epoch.checkpoint)
        if best_epoch(rows) == epoch.name:
            chosen = epoch.checkpoint.average or epoch.checkpoint.weights
            best_embedding = chosen["new_embeddings"]
    with torch.no_grad():
        assert model.new_embeddings is not None
        model.new_embeddings.copy_(best_embedding)
    return make_package(
        settled(model),
        package.backbone_config,
        package.slice_config,
        package.task_groups | {task: group},
        package.preprocess_digest,
        package.training | {"extended_by": task, **{f"extension_{k}": v for k, v in rows[best_epoch(rows)].items()}},
        package.preprocess,
        (*package.trained_patients, *train.studies.patient_keys),
    )
