"""One process among several that train together; alone, everything here does nothing."""

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn


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


def same_everywhere(parameters: Iterable[Tensor]) -> None:
    """Give every process the values of process 0."""
    if n_processes() > 1:
        for parameter in parameters:
            dist.broadcast(parameter.detach(), src=0)
