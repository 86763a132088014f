"""One process among several that train together; alone, everything here does nothing."""

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from hyperct_pipeline.errors import ConfigError


def rank() -> int:
    """Number of this process, 0 where there is one only."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def n_processes() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Add up the gradients of all processes, in one message per data type.

    DDP sends a gradient as soon as it is there, beside the rest of the backward pass. Here the hypernetwork, nearly all
    of what is trained, comes first in the forward and so last in the backward: there is nothing to hide the message
    behind. A sum of its own also lets a process without scans in a step (the last, uneven batch) take part with zeros.
    """
    if n_processes() == 1:
        return
    kept = [parameter for parameter in parameters if parameter.requires_grad]
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in kept]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    first = 0
    for parameter in kept:
        parameter.grad = flat[first : first + parameter.numel()].view_as(parameter)
        first += parameter.numel()


def summed(values: Tensor) -> Tensor:
    """The sum over all processes, in place."""
    if n_processes() > 1:
        dist.all_reduce(values)
    return values


def refuse_different(settings: str, epoch: int) -> None:
    """Raises ConfigError in every process when they do not all train the same thing from the same epoch on.

    Args:
        settings: digest of everything that the training depends on.
        epoch: that training goes on after; 0 at the beginning.
    """
    if n_processes() == 1:
        return
    found: list[tuple[str, int]] = [("", 0)] * n_processes()
    dist.all_gather_object(found, (settings, epoch))
    if len({told for told, _ in found}) > 1:
        raise ConfigError(
            f"the nodes of this training have different settings or data (digests {[told for told, _ in found]}): "
            "give all of them the same --params, and a data_root of the same content"
        )
    if len({begun for _, begun in found}) > 1:
        raise ConfigError(
            f"the nodes of this training would go on after different epochs ({[begun for _, begun in found]}): let all "
            "of them see the checkpoints of node 0, on a shared data_root or as a copy of 06_models/checkpoints"
        )


def same_everywhere(parameters: Iterable[Tensor]) -> None:
    """Give every process the values of process 0."""
    if n_processes() > 1:
        for parameter in parameters:
            dist.broadcast(parameter.detach(), src=0)
