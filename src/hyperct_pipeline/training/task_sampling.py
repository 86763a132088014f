"""Which tasks a scan trains on in a step: known ones only, drawn at random.

Shape letters: B scans, K tasks, M drawn pairs of scan and task.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

UNKNOWN = -1
"""Label of a task that is not known for a scan, inside label matrices only."""


def draw_tasks(
    labels: NDArray[np.int8], n_tasks: int, generators: Sequence[np.random.Generator]
) -> tuple[Tensor, Tensor]:
    """Pairs of scan and task to train on.

    Args:
        labels: (B, K), 1, 0 or -1 for unknown.
        n_tasks: known tasks per scan, drawn uniformly without repetition; a scan with fewer gives all it has, and
            one without any gives none.
        generators: one per scan, so that a draw does not depend on the other scans of the batch.

    Returns:
        Scan numbers (M,) and task numbers (M,), int64; pairs of a scan lie next to each other.
    """
    scans, tasks = [], []
    for scan, (row, generator) in enumerate(zip(labels, generators, strict=True)):
        known = np.flatnonzero(row != UNKNOWN)
        drawn = generator.permutation(known)[:n_tasks]
        scans.append(np.full(len(drawn), scan))
        tasks.append(drawn)
    return torch.from_numpy(np.concatenate(scans)).long(), torch.from_numpy(np.concatenate(tasks)).long()
