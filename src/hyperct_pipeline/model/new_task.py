"""A task that is added to a trained model: its embedding is learned, all else stays as it is, to the last bit."""

import torch
from torch import nn

from hyperct_pipeline.errors import ConfigError
from hyperct_pipeline.model.hyperct import HyperCT


@torch.no_grad()
def with_new_task(model: HyperCT, task: str) -> HyperCT:
    """The model with one task more, whose embedding alone is trainable; it starts at the mean of the others.

    The given model is changed and returned. After training, `settled` makes it an ordinary model.

    Raises:
        ConfigError: the task is there already, or the method has no task embeddings and one head for all tasks.
    """
    if task in model.tasks:
        raise ConfigError(f"the model has the task '{task}' already")
    if not model.design.has_embeddings or model.design.head != "shared":
        raise ConfigError(
            f"method {model.config.method} with head '{model.design.head}' cannot take a new task: only a hypernetwork "
            "with one head for all tasks makes its adapter from an embedding"
        )
    assert model.task_embeddings is not None
    model.requires_grad_(False)
    model.new_embeddings = nn.Parameter(model.task_embeddings.mean(dim=0, keepdim=True))
    model.tasks = (*model.tasks, task)
    model.forget_weights()
    return model


@torch.no_grad()
def settled(model: HyperCT) -> HyperCT:
    """The model with its new embedding among the others."""
    assert model.task_embeddings is not None
    model.task_embeddings = nn.Parameter(model.embeddings().detach().clone())
    model.new_embeddings = None
    model.requires_grad_(True)
    model.backbone.requires_grad_(model.design.trains_backbone)
    model.forget_weights()
    return model
