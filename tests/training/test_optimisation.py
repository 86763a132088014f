"""Fused AdamW against torch's plain one, steps that are not finite, and the moving average."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from hyperct_pipeline.training.optimisation import MovingAverage, Optimiser
from hyperct_pipeline.training.settings import FitConfig

CONFIG = FitConfig(lr=0.1, clip_norm=1.0, weight_decay=0.01)


def new() -> tuple[nn.Parameter, Optimiser]:
    weight = nn.Parameter(torch.tensor([1.0, -2.0, 3.0]))
    return weight, Optimiser({"w": weight}, CONFIG, n_steps=10)


def test_equals_plain_adamw_with_clipping() -> None:
    weight, optimiser = new()
    other = nn.Parameter(weight.detach().clone())
    plain = torch.optim.AdamW([other], lr=0.1, betas=CONFIG.betas, weight_decay=0.01, foreach=False)
    for step in range(4):
        gradient = torch.tensor([3.0, -1.0, 0.5]) * (step + 1)
        weight.grad, other.grad = gradient.clone(), gradient.clone()
        plain.param_groups[0]["lr"] = optimiser.set_lr(step)
        torch.nn.utils.clip_grad_norm_([other], 1.0)
        optimiser.step(torch.tensor(1.0))
        plain.step()
        torch.testing.assert_close(weight, other)
        assert weight.grad is None
    assert optimiser.first_bad_step() is None


@pytest.mark.parametrize(("loss", "gradient"), [(float("nan"), 1.0), (1.0, float("inf"))])
def test_a_bad_step_changes_nothing_and_is_remembered(loss: float, gradient: float) -> None:
    weight, optimiser = new()
    weight.grad = torch.ones(3)
    optimiser.step(torch.tensor(1.0))
    before, moments = weight.detach().clone(), optimiser.moments()
    for _ in range(2):
        weight.grad = torch.full((3,), gradient)
        optimiser.step(torch.tensor(loss))
    assert torch.equal(weight, before) and optimiser.first_bad_step() == 1
    assert all(torch.equal(value, moments[key]) for key, value in optimiser.moments().items())
    optimiser.begin_epoch()
    assert optimiser.first_bad_step() is None


def test_average_follows_its_formula_and_swaps_back() -> None:
    weight = nn.Parameter(torch.tensor([0.0]))
    average = MovingAverage({"w": weight}, decay=0.5)
    expected = 0.0
    for step, value in enumerate((1.0, 2.0, 3.0)):
        with torch.no_grad():
            weight.fill_(value)
        average.update()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    assert average.values["w"].item() == pytest.approx(expected)
    average.swap()
    assert weight.item() == pytest.approx(expected) and average.values["w"].item() == 3.0
    average.swap()
    assert weight.item() == 3.0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"ema_decay": 1.0}, "ema_decay"),
        ({"patience": 0}, "patience"),
        ({"micro_batch_size": 0}, "micro_batch_size"),
        ({"n_processes": 2, "device": "cuda:1"}, "n_processes is 2 and fit.n_nodes is 1.*say cuda"),
        ({"n_nodes": 2}, "rendezvous"),
        ({"n_nodes": 2, "rendezvous": "node0"}, "host:port of node 0, found 'node0'"),
        ({"n_nodes": 2, "node_rank": 2, "rendezvous": "node0:1"}, r"node_rank must lie in \[0, 2\).*found 2"),
        ({"node_rank": 1}, r"node_rank must lie in \[0, 1\)"),
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **wrong)
