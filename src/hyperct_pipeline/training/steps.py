"""Which studies and tasks make each step of an epoch, and which part of it a process takes.

Everything follows from (seed, epoch, study or step): a resumed run, another number of processes and another micro-batch
go through the same studies with the same crops, tasks and dropout.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hyperct_pipeline.training.dataset import ORDER, SHUFFLE, TASKS, LabelledStudies, stream
from hyperct_pipeline.training.settings import FitConfig
from hyperct_pipeline.training.task_sampling import UNKNOWN, draw_tasks


@dataclass(frozen=True, eq=False)
class Part:
    """Some scans of a step, forwarded together."""

    numbers: NDArray[np.int64]  # (B,) studies
    scan: Tensor  # int64 (M,) position in `numbers`
    task: Tensor  # int64 (M,)
    target: Tensor  # float32 (M,)


@dataclass(frozen=True, eq=False)
class Step:
    """One update of the weights."""

    number: int  # in the epoch, from 0
    studies: NDArray[np.int64]  # all studies of the step, of all processes
    tasks: NDArray[np.int64]  # all distinct tasks of the step, of all processes, sorted
    n_pairs: int  # of all processes
    parts: tuple[Part, ...]  # of this process; none where its share of an uneven batch is empty
    embedding_of: NDArray[np.int64] | None  # (K,) whose embedding each task gets, in the shuffled control


def usable_studies(labels: NDArray[np.int8]) -> NDArray[np.int64]:
    """Studies with a known label; the others would be read for nothing. Labels (n, K)."""
    return np.flatnonzero((labels != UNKNOWN).any(axis=1))


def steps_of_epoch(
    studies: LabelledStudies,
    config: FitConfig,
    epoch: int,
    micro_batch_size: int,
    rank: int,
    n_processes: int,
    shuffled: bool,
) -> Iterator[Step]:
    """The steps of an epoch, with the parts of process `rank`."""
    usable = usable_studies(studies.labels)
    order = usable[stream(config.seed, ORDER, epoch).permutation(len(usable))]
    n_tasks = studies.labels.shape[1]
    for number, first in enumerate(range(0, len(order), config.batch_size)):
        batch = order[first : first + config.batch_size]
        generators = [stream(config.seed, TASKS, epoch, int(study)) for study in batch]
        scan, task = draw_tasks(studies.labels[batch], config.tasks_per_scan, generators)
        own = np.array_split(np.arange(len(batch)), n_processes)[rank]
        chunks = [own[k : k + micro_batch_size] for k in range(0, len(own), micro_batch_size)]
        mixed = stream(config.seed, SHUFFLE, epoch, number).permutation(n_tasks) if shuffled else None
        yield Step(
            number, batch, np.unique(task.numpy()), len(scan),
            tuple(_part(studies.labels, batch, chunk, scan, task) for chunk in chunks), mixed,
        )  # fmt: skip


def _part(labels: NDArray[np.int8], batch: NDArray[np.int64], chunk: Sequence[int] | NDArray[np.int64],
          scan: Tensor, task: Tensor) -> Part:  # fmt: skip
    positions = np.asarray(chunk)
    inside = torch.from_numpy(np.isin(scan.numpy(), positions))
    numbers, own = batch[positions], task[inside]
    local = torch.from_numpy(np.searchsorted(positions, scan[inside].numpy()))
    target = torch.from_numpy(labels[numbers]).float()[local, own]
    return Part(numbers, local, own, target)
