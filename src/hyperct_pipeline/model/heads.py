"""From the CLS tokens of a scan's triplets to logits.

Shape letters: M pairs of scan and task, N triplets, D width, K tasks.
"""

import torch
from torch import Tensor, nn


class MeanHead(nn.Sequential):
    """Mean over the real triplets -> LayerNorm -> Linear to one logit for all tasks, or to one per task.

    A scan without any real triplet falls back to its first image, as the public code does.
    """

    def __init__(self, width: int, n_logits: int) -> None:
        super().__init__(nn.LayerNorm(width), nn.Linear(width, n_logits))

    def initialise(self, generator: torch.Generator) -> None:
        """torch's default initialisation of the linear, from an explicit generator."""
        _uniform(self[1], generator)

    def scores(self, cls_tokens: Tensor, mask: Tensor) -> Tensor:
        """(M, N, D) and bool (M, N) to logits (M, 1), or (M, K) where every task has a logit of its own."""
        weight = seen(mask).to(cls_tokens.dtype)
        features = (cls_tokens * weight[..., None]).sum(dim=1) / weight.sum(dim=1, keepdim=True)
        logits: Tensor = self(features)
        return logits


class AttentionHead(nn.Module):
    """Per task a query that weighs the triplets, and a linear on their weighted mean (attention pooling)."""

    def __init__(self, width: int, n_logits: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.query = nn.Parameter(torch.zeros(n_logits, width))  # zero: starts as the plain mean
        self.linear = nn.Linear(width, n_logits)

    def initialise(self, generator: torch.Generator) -> None:
        """Uniform weights; the queries stay zero."""
        _uniform(self.linear, generator)

    def scores(self, cls_tokens: Tensor, mask: Tensor) -> Tensor:
        """(M, N, D) and bool (M, N) to logits (M, K)."""
        x = self.norm(cls_tokens)
        weight = x @ self.query.mT * x.shape[-1] ** -0.5  # (M, N, K)
        weight = weight.masked_fill(~seen(mask)[..., None], -torch.inf).softmax(dim=1)
        pooled = weight.mT @ x  # (M, K, D)
        logits: Tensor = (pooled * self.linear.weight).sum(dim=-1) + self.linear.bias
        return logits


def seen(mask: Tensor) -> Tensor:
    """The mask (M, N), with the first image of a scan that has no real triplet."""
    first = mask[:, :1] | ~mask.any(dim=1, keepdim=True)
    return torch.cat([first, mask[:, 1:]], dim=1)


@torch.no_grad()
def _uniform(linear: nn.Module, generator: torch.Generator) -> None:
    assert isinstance(linear, nn.Linear)
    bound = linear.in_features**-0.5
    linear.weight.uniform_(-bound, bound, generator=generator)
    linear.bias.uniform_(-bound, bound, generator=generator)
