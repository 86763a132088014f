"""The floor runs the products of the work and nothing else; times that take turns."""

import sys
from pathlib import Path

import pytest
import torch

from hyperct_pipeline.model.backbone import build_backbone
from hyperct_pipeline.model.hyperct import HyperCT
from hyperct_pipeline.model.settings import BackboneConfig, HyperCTConfig
from hyperct_pipeline.training.flop_count import matmul_flop

BENCHMARKS = str(Path(__file__).parents[2] / "benchmarks")
BACKBONE = BackboneConfig("vit_small_patch16_dinov3_qkvb", img_size=(32, 32), embed_dim=32, depth=3, num_heads=2)
PATCH_EMBEDDING = 2 * (2 * 3) * (2 * 2) * 32 * (3 * 16 * 16)  # 2 scans x 3 images, 2 x 2 patches


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    for name in ("matrix_products", "paired_times", "public_algorithm"):
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.fixture
def model() -> HyperCT:
    config = HyperCTConfig(rank=3, task_dim=8, latent=16, head_in=12, dropout=0.0, mode="reference")
    return HyperCT(build_backbone(BACKBONE), ["a", "b", "c"], config)


@pytest.mark.parametrize("scoring", [False, True])
def test_the_recorded_products_have_the_operations_of_the_work(model: HyperCT, scoring: bool) -> None:
    from matrix_products import MatrixProducts

    triplets, mask = torch.randn(2, 3, 3, 32, 32), torch.ones(2, 3, dtype=torch.bool)
    task = torch.tensor([2, 0])

    def work() -> None:
        if scoring:
            model.eval().logits_all_tasks(triplets, mask)
        else:
            model(triplets, mask, task).sum().backward()

    products = MatrixProducts.of(work)
    assert matmul_flop(products.run) == matmul_flop(work) - PATCH_EMBEDDING
    # a tensor that repeats its rows is run as it was
    wide = torch.randn(1, 4, 5).expand(3, -1, -1)
    (call,) = MatrixProducts.of(lambda: torch.bmm(wide, torch.ones(3, 5, 2))).calls
    assert call[1][0].stride() == wide.stride() and call[1][0].shape == wide.shape


def test_ratios_are_of_neighbours_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    import paired_times

    clock, order = [0.0], []

    def taking(name: str, seconds: list[float]) -> object:
        left = iter(seconds)

        def run() -> None:
            order.append(name)
            clock[0] += next(left)

        return run

    monkeypatch.setattr(paired_times.time, "perf_counter", lambda: clock[0])
    # the second round is ten times as slow for both
    times = paired_times.PairedTimes(
        {"a": taking("a", [99.0, 2.0, 40.0, 3.0]), "b": taking("b", [99.0, 1.0, 10.0, 1.0])}, 3, torch.device("cpu")
    )
    assert order == ["a", "b"] * 4
    assert times.seconds == {"a": [2.0, 40.0, 3.0], "b": [1.0, 10.0, 1.0]}
    assert times.median("a") == 3.0 and times.ratio("a", "b") == 3.0


def test_the_public_algorithm_leaves_no_hook_on_the_model(model: HyperCT) -> None:
    from public_algorithm import PublicHyperCT

    public = PublicHyperCT(model)
    assert not any(module._forward_hooks for module in model.modules())
    assert public.head[1].weight is model.head[1].weight and public.head[1].bias is model.head[1].bias
    images = torch.rand(2, 3, 3, 32, 32)
    assert public(images, torch.ones(2, 3, dtype=torch.bool), public.generated(torch.tensor([0, 1]))).shape == (2,)
