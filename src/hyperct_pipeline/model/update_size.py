"""How large the generated updates are, and how much of them differs between tasks.

Products B A are never formed: with G = B^T B and H = A A^T, <B A, B' A'> is a sum over r x r entries.
"""

import torch
from torch import Tensor

from hyperct_pipeline.model.hyperct import HyperCT


@torch.no_grad()
def update_sizes(model: HyperCT) -> dict[str, float]:
    """`update_size/<site>`: root mean square over tasks and blocks of |s B A| / |W|, Frobenius norms; and
    `between_task_share`: the part of all updates' squared norm that is not common to all tasks (0: every task gets
    the same adapter). Nothing for a method without adapters.
    """
    if model.design.generator == "none":
        return {}
    training = model.training
    generated = model.eval().adapters(torch.arange(len(model.tasks), device=model.device))
    model.train(training)
    blocks = model.adapted_linears()
    sizes: dict[str, float] = {}
    total = common = 0.0
    for site, (a, b) in generated.items():
        each, mean = _squared_norms(a, b)  # (K, L), (L,)
        weight = torch.stack([linears[site].weight.square().sum() for linears in blocks])
        sizes[f"update_size/{site}"] = model.scale * float((each / weight).mean().sqrt())
        total, common = total + float(each.mean(dim=0).sum()), common + float(mean.sum())
    sizes["between_task_share"] = max(0.0, 1.0 - common / total) if total > 0.0 else 0.0
    return sizes


def _squared_norms(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """|B A|^2 of each task and block (K, L), and of the mean over tasks (L,)."""
    n_tasks = len(a)
    each = ((b.mT @ b) * (a @ a.mT)).sum(dim=(2, 3))
    wide_a = a.transpose(0, 1).flatten(1, 2)  # (L, K * r, n_in)
    wide_b = b.permute(1, 2, 0, 3).flatten(2, 3)  # (L, n_out, K * r)
    mean = ((wide_b.mT @ wide_b) * (wide_a @ wide_a.mT)).sum(dim=(1, 2)) / n_tasks**2
    return each, mean
