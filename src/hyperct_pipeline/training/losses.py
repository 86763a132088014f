"""The loss of drawn pairs of scan and task: known labels only, in fp32 whatever the forward computed in.

Shape letters: M pairs of scan and task, K tasks.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from hyperct_pipeline.training.settings import FitConfig

_WEIGHT_LIMIT = 20.0  # of a positive under class_balance: balanced; rarer tasks would only add noise
_DWA_TEMPERATURE = 2.0  # Liu et al. 2019


class TaskLoss(nn.Module):
    """Binary cross-entropy per pair, weighted by task.

    | loss_weighting | a pair of task k contributes |
    |---|---|
    | equal | L |
    | uncertainty | exp(-s_k) L + s_k / 2, s_k learned (Kendall, Gal, Cipolla, CVPR 2018) |
    | dwa | w_k L, w_k from how fast the loss of task k fell in the last two epochs (Liu, Johns, Davison, CVPR 2019) |

    A task that was not drawn has no pair and so no part in the loss; under `dwa` it keeps weight 1.

    class_balance: balanced gives positives of a task the weight w = negatives / positives, and adds log w to the logit
    inside the loss. The weight alone would move the best logit by log w; added there, the model's own logit stays
    where the frequency of the task has it, so its probabilities stay calibrated.
    """

    def __init__(self, config: FitConfig, labels: NDArray[np.int8]) -> None:
        super().__init__()
        n_tasks = labels.shape[1]
        self.kind = config.loss_weighting
        self.positive_weight: Tensor
        self.task_weight: Tensor
        weights = positive_weights(labels) if config.class_balance == "balanced" else np.ones(n_tasks)
        self.register_buffer("positive_weight", torch.from_numpy(weights).float(), persistent=False)
        self.register_buffer("task_weight", torch.ones(n_tasks), persistent=False)
        self.log_variance = nn.Parameter(torch.zeros(n_tasks)) if self.kind == "uncertainty" else None
        self.past: list[list[float | None]] = []  # mean loss per task of the last two epochs

    def forward(self, logits: Tensor, target: Tensor, task: Tensor) -> tuple[Tensor, Tensor]:
        """Loss of each pair (M,) as it is optimised, and the cross-entropy (M,) without weights of tasks."""
        weight = self.positive_weight[task]
        entropy = binary_cross_entropy_with_logits(
            logits.float() + weight.log(), target, torch.where(target > 0, weight, 1.0), reduction="none"
        )
        if self.log_variance is not None:
            spread = self.log_variance[task]
            return torch.exp(-spread) * entropy + 0.5 * spread, entropy
        return self.task_weight[task] * entropy, entropy

    def end_epoch(self, means: Sequence[float | None]) -> None:
        """Take note of the mean loss per task, None where a task was not drawn."""
        self.past = [*self.past, list(means)][-2:]
        self.restore(self.past)

    def restore(self, past: Sequence[Sequence[float | None]]) -> None:
        """Weights for the next epoch from the mean losses of the last two."""
        self.past = [list(means) for means in past]
        if self.kind == "dwa" and len(self.past) == 2:
            self.task_weight.copy_(torch.from_numpy(dwa_weights(*self.past)))


def dwa_weights(before: Sequence[float | None], last: Sequence[float | None]) -> NDArray[np.float32]:
    """K softmax(r_k / T) over the tasks with both losses, r_k = last / before; 1 for the others."""
    weights = np.ones(len(last), dtype=np.float32)
    known = [k for k in range(len(last)) if before[k] is not None and last[k] is not None]
    if known:
        ratio = np.array([float(last[k] or 0.0) / max(float(before[k] or 0.0), 1e-12) for k in known])
        power = np.exp((ratio - ratio.max()) / _DWA_TEMPERATURE)
        weights[known] = len(known) * power / power.sum()
    return weights


def positive_weights(labels: NDArray[np.int8]) -> NDArray[np.float64]:
    """(K,): negatives / positives of each task within limits, 1 where one class is absent; labels (n, K)."""
    positives, negatives = (labels == 1).sum(axis=0), (labels == 0).sum(axis=0)
    weights = np.ones(labels.shape[1])
    both = (positives > 0) & (negatives > 0)
    weights[both] = np.clip(negatives[both] / positives[both], 1.0 / _WEIGHT_LIMIT, _WEIGHT_LIMIT)
    return weights
