"""A training as a checkpoint, and a checkpoint as a training that goes on."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hyperct_pipeline.errors import ConfigError
from hyperct_pipeline.model.hyperct import HyperCT
from hyperct_pipeline.training.checkpoint import Checkpoint

if TYPE_CHECKING:
    from hyperct_pipeline.training.run import TrainingRun

LOSS = "loss."
"""Prefix of what the loss learns."""


def checkpoint_of(run: "TrainingRun", epoch: int, settings: str, metrics: Mapping[str, float | None]) -> Checkpoint:
    """A copy of the trained weights, their average and the optimiser, on the CPU."""
    state: dict[str, Any] = {
        "epoch": epoch,
        "settings": settings,
        "tasks": list(run.model.tasks),
        "start": run.start,
        "metrics": dict(metrics),
        "best": run.stopping.best,
        "turns_without_better": run.stopping.turns,
        "past_losses": run.loss.past,
        "average_steps": run.average.steps if run.average else 0,
    }
    average = run.average.values if run.average else {}
    return Checkpoint(_copies(run.parameters), run.optimiser.moments(), state, _copies(average))


def restore(run: "TrainingRun", checkpoint: Checkpoint) -> int:
    """Take everything over that training depends on; the number of the epoch that comes next."""
    load_trained(run.model, Checkpoint(checkpoint.weights, {}, {}))
    with torch.no_grad():
        for name, parameter in run.loss.named_parameters():
            parameter.copy_(checkpoint.weights[LOSS + name])
    run.optimiser.restore(checkpoint.optimiser)
    state = checkpoint.state
    run.stopping.best, run.stopping.turns = state.get("best"), int(state.get("turns_without_better", 0))
    run.loss.restore(state.get("past_losses", []))
    if run.average is not None:
        run.average.restore(checkpoint.average, int(state["average_steps"]))
    return int(state["epoch"]) + 1


@torch.no_grad()
def load_trained(model: HyperCT, checkpoint: Checkpoint) -> None:
    """Copy the trained weights of a checkpoint into the model, averaged ones where there are any.

    Raises ConfigError when they are not the model's own.
    """
    parameters = model.trainable_parameters()
    weights = checkpoint.average or {k: v for k, v in checkpoint.weights.items() if not k.startswith(LOSS)}
    expected = {name: tuple(value.shape) for name, value in parameters.items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    if expected != found:
        differing = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        raise ConfigError(f"the checkpoint is of another model: {len(differing)} tensors differ, e.g. {differing[:3]}")
    for name, value in weights.items():
        parameters[name].copy_(value)


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().to("cpu", copy=True) for name, value in tensors.items()}
