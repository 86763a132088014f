"""Is a saliency map about the model and the task, or would any network draw it?

Three checks of each map, as rank correlations over the patches the model saw:

- untrained: against the map of a model whose trained weights (adapters and head) are at a start; the frozen backbone is
  the same. Near 1, the map shows what the backbone finds, not what was learned for the task.
- random: against the map of a model all of whose weights are random, the backbone's too. Near 1, the map shows the
  image as any network of this shape would.
- task swap: against the map of another task of the same model. Near 1, the map does not tell tasks apart.

Source: Adebayo et al., Sanity checks for saliency maps, NeurIPS 2018.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from hyperct_pipeline.evaluation.saliency import grad_cam
from hyperct_pipeline.model.hyperct import HyperCT
from hyperct_pipeline.training.checkpoint import ModelPackage
from hyperct_pipeline.volumes.slices import triplets
from hyperct_pipeline.volumes.store import StoredVolume

COLUMNS = (
    "study_key", "task", "swapped_task", "n_patches", "rank_correlation_untrained", "rank_correlation_random",
    "rank_correlation_swapped", "model_id",
)  # fmt: skip


@dataclass(frozen=True)
class SaliencyCheck:
    """Rank correlations of one map; None where a map is constant."""

    swapped_task: str | None  # None: the model has one task
    n_patches: int
    untrained: float | None
    random: float | None
    swapped: float | None

    def row(self, study_key: str, task: str, model_id: str) -> tuple[object, ...]:
        """One row of the table of `COLUMNS`."""
        found = (self.swapped_task, self.n_patches, self.untrained, self.random, self.swapped)
        return (study_key, task, *found, model_id)


def swapped_task(tasks: tuple[str, ...], groups: dict[str, str], task: str) -> str | None:
    """The next task of another group, else the next task, else None; always the same one."""
    at = tasks.index(task)
    later = [*tasks[at + 1 :], *tasks[:at]]
    foreign = [other for other in later if groups[other] != groups[task]]
    return next(iter([*foreign, *later]), None)


def saliency_check(
    package: ModelPackage, untrained: HyperCT, random: HyperCT, stored: StoredVolume, task: str, device: torch.device
) -> SaliencyCheck:
    """All checks of the map of one task over one scan.

    Args:
        package: the trained model.
        untrained: the same shape and backbone with untrained weights, `control_models.untrained_model`.
        random: the same shape with random weights, `control_models.random_model`.
        stored: the scan.
        task: a task of the model.
        device: where it is computed.
    """
    images, mask = triplets(stored.hu, package.slice_config, None)
    x, seen = torch.from_numpy(images)[None].to(device), torch.from_numpy(mask)[None].to(device)
    other = swapped_task(package.tasks, package.task_groups, task)

    def patches(model: HyperCT, of_task: str) -> NDArray[np.float64]:
        cam, _ = grad_cam(model.to(device).eval(), x, seen, package.tasks.index(of_task))
        values: NDArray[np.float64] = cam[seen[0]].double().cpu().numpy().ravel()
        return values

    own = patches(package.model, task)
    return SaliencyCheck(
        swapped_task=other,
        n_patches=len(own),
        untrained=rank_correlation(own, patches(untrained, task)),
        random=rank_correlation(own, patches(random, task)),
        swapped=None if other is None else rank_correlation(own, patches(package.model, other)),
    )


def rank_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float | None:
    """Spearman's rank correlation; None where one of the two is constant."""
    if min(len(first), len(second)) < 2 or not np.ptp(first) > 0 or not np.ptp(second) > 0:
        return None
    return float(spearmanr(first, second).statistic)
