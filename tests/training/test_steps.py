"""What a step is made of, and that it never waits for the device."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from hyperct_pipeline.model.hyperct import HyperCT
from hyperct_pipeline.training.dataset import CTStudies
from hyperct_pipeline.training.run import TrainingRun
from hyperct_pipeline.training.settings import FitConfig
from hyperct_pipeline.training.steps import steps_of_epoch, usable_studies

NewModel = Callable[[], HyperCT]
FIT = FitConfig(epochs=2, batch_size=8, tasks_per_scan=2, lr=1e-3, device="cpu")

# what makes the host wait for the device, or depend on its values
WAITING = ("_local_scalar_dense", "nonzero", "_unique2", "unique_dim", "masked_select", "is_nonzero", "equal")


class Operations(TorchDispatchMode):
    """Counts what is dispatched."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[function._schema.name.split("::")[1]] += 1
        return function(*args, **(kwargs or {}))


def operations_of_a_step(model: HyperCT, train: CTStudies, validation: CTStudies, config: FitConfig) -> Counter[str]:
    run = TrainingRun(model, train, validation, config)
    step = next(steps_of_epoch(train.studies, config, 1, run.micro_batch_size, 0, 1, False))
    batches = list(train.chunks([part.numbers for part in step.parts], 1))
    totals = torch.zeros(2, len(model.tasks))
    run._step(step, iter(batches), 1, totals)  # the first step makes the moments
    with Operations() as seen:
        run._step(step, iter(batches), 1, totals)
    return seen.counts


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_no_operation_of_a_step_waits_for_the_device(
    new_model: NewModel, train: CTStudies, validation: CTStudies, precision: str
) -> None:
    config = replace(FIT, precision=precision, clip_norm=1.0, loss_weighting="uncertainty", ema_decay=0.9)
    counts = operations_of_a_step(new_model(), train, validation, config)
    assert counts["_fused_adamw_"] == 1
    assert not {name: counts[name] for name in WAITING if counts[name]}


def test_operations_of_a_step_do_not_grow_with_scans_or_tasks(
    new_model: NewModel, train: CTStudies, validation: CTStudies
) -> None:
    """Generation, forward and update are batched: the count is that of the blocks, for any batch."""
    few = operations_of_a_step(new_model(), train, validation, replace(FIT, batch_size=3, tasks_per_scan=2))
    many = operations_of_a_step(new_model(), train, validation, replace(FIT, batch_size=16, tasks_per_scan=2))
    assert abs(sum(many.values()) - sum(few.values())) < 20 and sum(many.values()) < 1500


def test_a_step_divides_into_parts_and_processes_without_loss(train: CTStudies) -> None:
    """All parts of all processes together are the pairs of the whole step, each once."""
    config = replace(FIT, batch_size=7)
    whole = list(steps_of_epoch(train.studies, config, 3, 7, 0, 1, False))
    shares = [list(steps_of_epoch(train.studies, config, 3, 2, rank, 3, False)) for rank in range(3)]
    for number, step in enumerate(whole):
        found = set()
        for share in shares:
            assert share[number].n_pairs == step.n_pairs and np.array_equal(share[number].tasks, step.tasks)
            for part in share[number].parts:
                assert len(part.numbers) <= 2
                found |= {
                    (int(part.numbers[s]), int(t), float(y))
                    for s, t, y in zip(part.scan, part.task, part.target, strict=True)
                }
        (only,) = step.parts
        expected = {
            (int(only.numbers[s]), int(t), float(y)) for s, t, y in zip(only.scan, only.task, only.target, strict=True)
        }
        assert found == expected and len(found) == step.n_pairs
    assert sum(len(step.studies) for step in whole) == len(usable_studies(train.studies.labels)) == 20
    assert [len(step.studies) for step in whole] == [7, 7, 6]


def test_targets_are_the_labels_of_their_pairs(train: CTStudies) -> None:
    for step in steps_of_epoch(train.studies, FIT, 1, 3, 0, 1, False):
        for part in step.parts:
            expected = train.studies.labels[part.numbers[part.scan.numpy()], part.task.numpy()]
            assert part.target.tolist() == expected.astype(float).tolist() and (expected >= 0).all()


def test_shuffled_control_draws_another_embedding_in_each_step(train: CTStudies) -> None:
    steps = list(steps_of_epoch(train.studies, replace(FIT, batch_size=2), 1, 8, 0, 1, True))
    orders = {tuple(step.embedding_of.tolist()) for step in steps if step.embedding_of is not None}
    assert len(orders) > 2 and all(sorted(order) == [0, 1, 2] for order in orders)
    assert all(s.embedding_of is None for s in steps_of_epoch(train.studies, FIT, 1, 8, 0, 1, False))
