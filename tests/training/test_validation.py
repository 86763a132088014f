"""Validation figures against scikit-learn and closed forms."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss, roc_auc_score

from hyperct_pipeline.model import task_scorer
from hyperct_pipeline.model.hyperct import HyperCT
from hyperct_pipeline.training.dataset import CTStudies
from hyperct_pipeline.training.validation import score, validation_metrics

RNG = np.random.default_rng(0)
LABELS = np.array([[0, 1, 1, -1]] * 3 + [[1, 1, 0, -1]] * 5 + [[0, -1, 0, -1]] * 6, dtype=np.int8)
LOGITS = RNG.normal(size=LABELS.shape) * 3


def test_loss_and_auroc_equal_scikit_learn() -> None:
    metrics = validation_metrics(LABELS, LOGITS, "abcd", min_class_count=1)
    known = LABELS >= 0
    assert metrics["validation_loss"] == pytest.approx(log_loss(LABELS[known], 1 / (1 + np.exp(-LOGITS[known]))))
    areas = [roc_auc_score(LABELS[:, k], LOGITS[:, k]) for k in (0, 2)]
    assert metrics["validation_auroc/a"] == pytest.approx(areas[0])
    assert metrics["validation_auroc"] == pytest.approx(np.mean(areas))
    assert metrics["validation_tasks"] == 2


def test_undefined_tasks_are_none() -> None:
    metrics = validation_metrics(LABELS, LOGITS, "abcd", min_class_count=1)
    assert metrics["validation_auroc/b"] is None  # one class
    assert metrics["validation_auroc/d"] is None  # unknown throughout


@pytest.mark.parametrize(("least", "tasks"), [(3, 2), (4, 1), (5, 1), (6, 0)])
def test_tasks_with_too_few_of_a_class_do_not_count_in_the_mean(least: int, tasks: int) -> None:
    metrics = validation_metrics(LABELS, LOGITS, "abcd", min_class_count=least)
    assert metrics["validation_tasks"] == tasks
    assert ("validation_auroc" in metrics) == (tasks > 0)


def test_huge_logits_do_not_overflow() -> None:
    metrics = validation_metrics(np.array([[0], [1]], dtype=np.int8), np.array([[900.0], [-900.0]]), "a", 1)
    assert metrics["validation_loss"] == pytest.approx(900.0)


def test_nothing_known() -> None:
    assert validation_metrics(np.full((2, 1), -1, dtype=np.int8), np.zeros((2, 1)), "a", 1) == {
        "validation_auroc/a": None,
        "validation_tasks": 0.0,
    }


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_validation_has_the_precision_of_the_training(
    new_model: Callable[[], HyperCT], validation: CTStudies, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    """Whatever scoring on this device would take by itself, as fp16 on CUDA."""
    monkeypatch.setattr(task_scorer, "inference_precision", lambda device: "fp16")
    model, cpu = new_model(), torch.device("cpu")
    model.precision = precision
    batch = next(validation.batches(range(12), 12, epoch=0))
    images = validation.normalise(batch.images)
    expected = model.eval().logits_all_tasks(images, batch.mask, precision=precision)
    np.testing.assert_array_equal(score(model, validation, 12, cpu), expected.double().numpy())
    assert not np.array_equal(expected.numpy(), model.logits_all_tasks(images, batch.mask, precision="fp16").numpy())
