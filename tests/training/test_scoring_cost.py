"""Counted operations against closed forms, and seconds against a clock that is set by hand."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from hyperct_pipeline.model.backbone import build_backbone
from hyperct_pipeline.model.hyperct import HyperCT
from hyperct_pipeline.training import scoring_cost
from hyperct_pipeline.training.dataset import Batch, CTStudies
from hyperct_pipeline.training.flop_count import matmul_flop
from hyperct_pipeline.training.scoring_cost import flop_per_scan, seconds_per_scan
from hyperct_pipeline.volumes.store import VolumeStore

from .conftest import BACKBONE, DIGEST, MODEL, SLICES, TASKS, make_studies

CPU = torch.device("cpu")
# the sizes of BACKBONE, SLICES and MODEL
DEPTH, D, HIDDEN, N, R, K = 3, 32, 4 * 32, 4, 2, 3
PATCHES = 2 * 2
T = PATCHES + 5  # CLS and four registers
ROWS = N * T
EMBED = 2 * N * PATCHES * D * 3 * 16 * 16


def model_of(**changes: object) -> HyperCT:
    return HyperCT(build_backbone(replace(BACKBONE, depth=DEPTH)), TASKS, replace(MODEL, **changes))


def linear(rows: int, n_in: int, n_out: int) -> int:
    return 2 * rows * n_in * n_out


def low_rank(rows: int, n_in: int, n_out: int) -> int:
    """x A^T, then B."""
    return linear(rows, n_in, R) + linear(rows, R, n_out)


def attention(queries: int) -> int:
    """Scores and their products with the values, of all heads together."""
    return 2 * 2 * N * queries * T * D


def after_attention(rows: int) -> int:
    return linear(rows, D, D) + 2 * linear(rows, D, HIDDEN)


def block(cls_only: bool) -> int:
    """A whole block of merged or frozen weights; of the last one only the CLS row goes on."""
    rows, queries = (N, 1) if cls_only else (ROWS, T)
    return linear(rows, D, D) + 2 * linear(ROWS, D, D) + attention(queries) + after_attention(rows)


def updates(cls_only: bool) -> int:
    """Low-rank updates of all sites of a block that are not merged."""
    rows = N if cls_only else ROWS
    return 2 * low_rank(ROWS, D, D) + 2 * low_rank(rows, D, D) + 2 * low_rank(rows, D, HIDDEN)


def test_merged_weights_share_the_first_products_between_tasks(train: CTStudies) -> None:
    shared = 3 * linear(ROWS, D, D)
    first = 3 * low_rank(ROWS, D, D) + attention(T) + after_attention(ROWS)
    per_task = first + (DEPTH - 2) * block(False) + block(True) + linear(1, D, 1)
    assert flop_per_scan(model_of(), train, CPU) == EMBED + shared + K * per_task


def test_one_adapter_for_all_tasks_is_not_merged(train: CTStudies) -> None:
    """Its updates are added in place, which torch's own counter does not know."""
    blocks = (DEPTH - 1) * (block(False) + updates(False)) + block(True) + updates(True)
    assert flop_per_scan(model_of(method="shared_lora"), train, CPU) == EMBED + blocks + linear(1, D, K)


def test_frozen_features_cost_one_plain_pass(train: CTStudies) -> None:
    blocks = (DEPTH - 1) * block(False) + block(True)
    assert flop_per_scan(model_of(method="linear_probe"), train, CPU) == EMBED + blocks + linear(1, D, K)


def test_both_directions_of_a_step_are_counted() -> None:
    """A frozen linear with an update: forward W x, A x, B A x; backward the same for x, and A and B once more."""
    x, a = torch.randn(2, 5, 8, requires_grad=True), torch.randn(2, 3, 8, requires_grad=True)
    b, weight = torch.randn(2, 6, 3, requires_grad=True), torch.randn(6, 8)

    def step() -> None:
        from hyperct_pipeline.model.lora import _LowRankLinear

        _LowRankLinear.apply(x, weight, None, a, b, 1.0).sum().backward()

    narrow = linear(10, 8, 3) + linear(10, 3, 6)
    assert matmul_flop(step) == 2 * linear(10, 8, 6) + 3 * narrow


def test_seconds_leave_the_first_batch_out(
    train: CTStudies, store: VolumeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, sizes, cost = [100.0], [], iter([50.0, 2.0, 1.0, 9.0, 2.0, 3.0])

    def slow(model: HyperCT, studies: CTStudies, batch: Batch) -> torch.Tensor:
        assert not model.training
        clock[0] += next(cost)
        sizes.append(len(batch.numbers))
        return torch.zeros(1)

    monkeypatch.setattr(scoring_cost, "batch_logits", slow)
    monkeypatch.setattr(scoring_cost.time, "perf_counter", lambda: clock[0])
    model = model_of().train()
    assert seconds_per_scan(model, train, 4, CPU) == pytest.approx(2.0 / 4)
    assert sizes == [4] * 6 and model.training
    cost = iter([50.0, 2.0, 1.0, 9.0, 2.0, 3.0])
    few = CTStudies(store, make_studies(store, 3, "f", 7), SLICES, DIGEST)
    assert seconds_per_scan(model, few, 8, CPU) == pytest.approx(2.0 / 3)


def test_nothing_to_score_costs_nothing_that_can_be_named(new_model: Callable[[], HyperCT], store: VolumeStore) -> None:
    none = CTStudies(store, make_studies(store, 0, "n", 0), SLICES, DIGEST)
    assert seconds_per_scan(new_model(), none, 8, CPU) is None
    assert flop_per_scan(new_model(), none, CPU) is None
