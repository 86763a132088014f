"""Loss and AUROC of the validation studies.

Shape letters: n studies, K tasks.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hyperct_pipeline.metrics.discrimination import auroc
from hyperct_pipeline.model.hyperct import HyperCT
from hyperct_pipeline.training import processes
from hyperct_pipeline.training.dataset import Batch, CTStudies
from hyperct_pipeline.training.task_sampling import UNKNOWN


def score(model: HyperCT, studies: CTStudies, batch_size: int, device: torch.device) -> NDArray[np.float64]:
    """Logits (n, K) of all studies from their centre crops, in eval mode; the model's mode is restored.

    Products have the precision that the model trains in.

    Several processes take a share of the studies each, and all of them return all logits.
    """
    training = model.training
    model.eval()
    scores = torch.zeros(len(studies), len(model.tasks), dtype=torch.float64, device=device)
    own = np.array_split(np.arange(len(studies)), processes.n_processes())[processes.rank()]
    for batch in studies.batches(own, batch_size, epoch=0):
        scores[torch.from_numpy(batch.numbers).to(device)] = batch_logits(model, studies, batch.to(device))
    model.train(training)
    logits: NDArray[np.float64] = processes.summed(scores).cpu().numpy()
    return logits


@torch.no_grad()
def batch_logits(model: HyperCT, studies: CTStudies, batch: Batch) -> Tensor:
    """Logits (B, K) of a batch that is on the device of the model, which is in eval mode."""
    if studies.features is not None:
        return model.head.scores(batch.images, batch.mask).expand(-1, len(model.tasks)).double()
    images = studies.normalise(batch.images)
    return model.logits_all_tasks(images, batch.mask, precision=model.precision).double()


def validation_metrics(
    labels: NDArray[np.int8], logits: NDArray[np.float64], tasks: Sequence[str], min_class_count: int
) -> dict[str, float | None]:
    """Loss, AUROC per task, and their mean over the tasks that can be judged.

    Args:
        labels: (n, K), 1, 0 or -1 for unknown.
        logits: (n, K).
        min_class_count: positives and negatives that a task needs to count in the mean.

    Returns:
        `validation_loss` over all known labels, absent without any; `validation_auroc/<task>`, None where a class is
        absent; `validation_auroc`, the mean over tasks with enough of both classes, absent without one;
        `validation_tasks`, their number.
    """
    known = labels != UNKNOWN
    metrics: dict[str, float | None] = {}
    if known.any():
        # log(1 + exp(z)) - y z, without overflow
        losses = np.logaddexp(0.0, logits[known]) - labels[known] * logits[known]
        metrics["validation_loss"] = float(losses.mean())
    judged = []
    for number, task in enumerate(tasks):
        label = labels[known[:, number], number]
        value = auroc(label, logits[known[:, number], number]) if len(label) else None
        metrics[f"validation_auroc/{task}"] = value
        if value is not None and min(int((label == 1).sum()), int((label == 0).sum())) >= min_class_count:
            judged.append(value)
    metrics["validation_tasks"] = float(len(judged))
    if judged:
        metrics["validation_auroc"] = float(np.mean(judged))
    return metrics
