"""Weighting of tasks and classes against closed forms."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from hyperct_pipeline.training.losses import TaskLoss, dwa_weights, positive_weights
from hyperct_pipeline.training.settings import FitConfig

LABELS = np.array([[1, 0, -1]] * 2 + [[0, 0, -1]] * 6, dtype=np.int8)
LOGITS, TARGET, TASK = torch.tensor([0.3, -1.2, 2.0]), torch.tensor([1.0, 0.0, 1.0]), torch.tensor([0, 1, 0])


def entropy() -> torch.Tensor:
    return binary_cross_entropy_with_logits(LOGITS, TARGET, reduction="none")


def test_equal_weights() -> None:
    losses, plain = TaskLoss(FitConfig(), LABELS)(LOGITS, TARGET, TASK)
    assert torch.equal(losses, plain)
    torch.testing.assert_close(plain, entropy())


def test_uncertainty_is_exp_minus_s_times_loss_plus_half_s() -> None:
    loss = TaskLoss(FitConfig(loss_weighting="uncertainty"), LABELS)
    with torch.no_grad():
        loss.log_variance.copy_(torch.tensor([1.0, -0.5, 3.0]))
    losses, plain = loss(LOGITS, TARGET, TASK)
    spread = torch.tensor([1.0, -0.5, 1.0])
    torch.testing.assert_close(losses, torch.exp(-spread) * entropy() + spread / 2)
    torch.testing.assert_close(plain, entropy())
    losses.sum().backward()
    assert loss.log_variance.grad[2] == 0  # a task without pairs learns nothing


def test_dwa_favours_what_falls_slowly() -> None:
    weights = dwa_weights([1.0, 1.0, None], [1.0, 0.5, 0.7])
    expected = 2 * np.exp(np.array([1.0, 0.5]) / 2) / np.exp(np.array([1.0, 0.5]) / 2).sum()
    np.testing.assert_allclose(weights[:2], expected, rtol=1e-6)
    assert weights[2] == 1.0 and weights[0] > weights[1]
    loss = TaskLoss(FitConfig(loss_weighting="dwa"), LABELS)
    loss.end_epoch([1.0, 1.0, None])
    torch.testing.assert_close(loss(LOGITS, TARGET, TASK)[0], entropy())  # one epoch says nothing yet
    loss.end_epoch([1.0, 0.5, None])
    torch.testing.assert_close(loss(LOGITS, TARGET, TASK)[0], torch.from_numpy(weights)[TASK] * entropy())
    resumed = TaskLoss(FitConfig(loss_weighting="dwa"), LABELS)
    resumed.restore(loss.past)
    assert torch.equal(resumed.task_weight, loss.task_weight)


@pytest.mark.parametrize("kind", ["equal", "uncertainty", "dwa"])
def test_half_precision_logits_are_weighted_in_fp32(kind: str) -> None:
    losses, _ = TaskLoss(FitConfig(loss_weighting=kind), LABELS)(torch.tensor([60000.0]).half(), TARGET[1:2], TASK[:1])
    assert losses.dtype == torch.float32 and losses.isfinite().all() and losses.item() == pytest.approx(6e4, rel=1e-3)


def test_balanced_classes_keep_the_best_logit_at_the_frequency() -> None:
    """With 2 positives among 8 the best constant logit is log(2 / 6) in both; without the shift it would be 0."""
    best = {}
    for balance in ("none", "balanced"):
        loss = TaskLoss(replace(FitConfig(), class_balance=balance), LABELS)
        z = torch.zeros((), requires_grad=True)
        optimiser = torch.optim.LBFGS([z], max_iter=100, tolerance_grad=1e-9)

        def closure(z: torch.Tensor = z, loss: TaskLoss = loss) -> torch.Tensor:
            z.grad = None
            target = torch.from_numpy(LABELS[:, 0]).float()
            value = loss(z.expand(8), target, torch.zeros(8, dtype=torch.long))[0].mean()
            value.backward()
            return value

        optimiser.step(closure)
        best[balance] = z.item()
    assert best["none"] == pytest.approx(math.log(2 / 6), abs=1e-3)
    assert best["balanced"] == pytest.approx(math.log(2 / 6), abs=1e-3)


def test_positive_weights_are_negatives_over_positives_within_limits() -> None:
    many = np.zeros((100, 2), dtype=np.int8)
    many[0, 0] = 1
    assert positive_weights(LABELS).tolist() == [3.0, 1.0, 1.0]
    assert positive_weights(many).tolist() == [20.0, 1.0]
