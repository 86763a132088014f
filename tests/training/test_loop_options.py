"""Options of training: each resumes exactly, divides without change, and does what it says."""

import itertools
import logging
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from hyperct_pipeline.model.backbone import build_backbone
from hyperct_pipeline.model.hyperct import HyperCT
from hyperct_pipeline.training.dataset import CTStudies
from hyperct_pipeline.training.loop import Epoch, fit
from hyperct_pipeline.training.run_state import load_trained
from hyperct_pipeline.training.settings import FitConfig

from .conftest import BACKBONE, DIGEST, MODEL, SLICES, TASKS

FIT = FitConfig(epochs=3, batch_size=8, tasks_per_scan=2, lr=3e-3, clip_norm=1.0, device="cpu")
NewModel = Callable[[], HyperCT]
METHODS = (
    "hyperct_narrow", "hyperct_cores", "hyperct_shuffled", "linear_probe", "attention_probe", "hard_sharing",
    "shared_lora", "task_lora", "mtlora",
)  # fmt: skip


def fresh(studies: CTStudies) -> CTStudies:
    """Without features that another training has kept."""
    return CTStudies(studies.store, studies.studies, SLICES, DIGEST, seed=studies.seed)


def same(first: Epoch, second: Epoch, tolerance: float = 0.0) -> None:
    for kind in ("weights", "optimiser", "average"):
        expected, found = getattr(first.checkpoint, kind), getattr(second.checkpoint, kind)
        assert expected.keys() == found.keys()
        for name in expected:
            torch.testing.assert_close(found[name], expected[name], atol=tolerance, rtol=tolerance, msg=name)


@pytest.mark.parametrize(
    "options",
    [
        {"ema_decay": 0.8},
        {"loss_weighting": "uncertainty"},
        {"loss_weighting": "dwa"},
        {"patience": 2, "precision": "bf16"},
        {"micro_batch_size": 3, "class_balance": "balanced"},
    ],
)
def test_resumed_training_equals_uninterrupted_training(
    new_model: NewModel, train: CTStudies, validation: CTStudies, options: dict[str, object]
) -> None:
    config = replace(FIT, epochs=4, **options)
    whole = list(fit(new_model(), train, validation, config))
    stopped = list(itertools.islice(fit(new_model(), train, validation, config), 2))
    resumed = list(fit(new_model(), train, validation, config, resume=stopped[-1].checkpoint))
    assert [epoch.name for epoch in resumed] == ["epoch_003", "epoch_004"]
    for early, late in zip(whole[2:], resumed, strict=True):
        same(early, late)
        assert early.checkpoint.state["best"] == late.checkpoint.state["best"]


def test_accumulated_gradients_equal_those_of_the_whole_batch(
    new_model: NewModel, train: CTStudies, validation: CTStudies
) -> None:
    """With dropout, and with a last batch that does not divide."""
    config = replace(FIT, epochs=1, batch_size=7, lr=1e-4)
    (whole,) = fit(new_model(), train, validation, config)
    (parts,) = fit(new_model(), train, validation, replace(config, micro_batch_size=2))
    for name, value in whole.checkpoint.weights.items():
        # AdamW divides by the gradient's size, so rounding may move an entry by a part of lr
        torch.testing.assert_close(parts.checkpoint.weights[name], value, atol=5e-5, rtol=0, msg=name)
    assert parts.metrics["train_loss"] == pytest.approx(whole.metrics["train_loss"], rel=1e-3)


def test_checkpointing_changes_nothing(new_model: NewModel, train: CTStudies, validation: CTStudies) -> None:
    config = replace(FIT, epochs=1, lr=1e-4)
    (plain,) = fit(new_model(), train, validation, config)
    (sparing,) = fit(new_model(), train, validation, replace(config, checkpointing=True))
    assert sparing.metrics["train_loss"] == pytest.approx(plain.metrics["train_loss"], rel=1e-5)


def test_the_average_is_validated_and_loaded(new_model: NewModel, train: CTStudies, validation: CTStudies) -> None:
    model = new_model()
    *_, last = fit(model, train, validation, replace(FIT, ema_decay=0.9))
    raw = {name: value.detach().clone() for name, value in model.trainable_parameters().items()}
    assert all(torch.equal(raw[name], value) for name, value in last.checkpoint.weights.items())
    loaded = new_model()
    load_trained(loaded, last.checkpoint)
    for name, value in loaded.trainable_parameters().items():
        assert torch.equal(value, last.checkpoint.average[name])
    assert not torch.equal(loaded.head[1].weight, raw["head.1.weight"])


def test_training_stops_when_validation_gets_no_better(
    new_model: NewModel, train: CTStudies, validation: CTStudies, caplog: pytest.LogCaptureFixture
) -> None:
    config = replace(FIT, epochs=40, lr=1e-9, patience=3)  # nothing is learned, so nothing gets better
    with caplog.at_level(logging.INFO):
        epochs = list(fit(new_model(), train, validation, config))
    values = [epoch.metrics["validation_auroc"] for epoch in epochs]
    assert len(epochs) == values.index(max(values)) + 1 + 3 < 40
    assert "no better validation in 3 turns" in caplog.text
    assert list(fit(new_model(), train, validation, config, resume=epochs[-1].checkpoint)) == []


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains(train: CTStudies, validation: CTStudies, method: str) -> None:
    model = HyperCT(build_backbone(BACKBONE), TASKS, replace(MODEL, method=method))
    first, *_, last = fit(model, fresh(train), fresh(validation), replace(FIT, epochs=8, validation_every=8))
    assert last.metrics["train_loss"] < first.metrics["train_loss"]
    assert all(math.isfinite(value) for value in last.metrics.values() if value is not None)
    assert {name for name, value in last.metrics.items() if name.startswith("train_loss/") and value is not None} == {
        "train_loss/bright_left", "train_loss/dark_centre",
    }  # fmt: skip
    if method == "hyperct_shuffled":  # the adapters cannot know their task
        assert last.metrics["train_loss"] > 0.4


def test_probes_read_features_that_are_computed_once(train: CTStudies, validation: CTStudies) -> None:
    model = HyperCT(build_backbone(BACKBONE), TASKS, replace(MODEL, method="linear_probe"))
    passes = []
    model.backbone.norm.register_forward_pre_hook(lambda _, args: passes.append(len(args[0])))
    own = fresh(train)
    epochs = list(fit(model, own, fresh(validation), FIT))
    assert sum(passes) == (20 + 12) * 4 and len(epochs) == 3  # every triplet of both splits, once
    batch = next(own.batches([3, 5], 2, epoch=7))
    assert batch.images.shape == (2, 4, 32)
    centre = CTStudies(own.store, own.studies, SLICES, DIGEST)
    images = next(centre.batches([3, 5], 2, epoch=0))
    expected = model.features(centre.normalise(images.images))
    torch.testing.assert_close(batch.images, expected, atol=1e-6, rtol=0)


def test_bf16_and_fp32_agree_on_validation(new_model: NewModel, train: CTStudies, validation: CTStudies) -> None:
    areas = [
        list(fit(new_model(), train, validation, replace(FIT, epochs=12, precision=precision, validation_every=12)))[
            -1
        ].metrics["validation_auroc"]
        for precision in ("fp32", "bf16")
    ]
    assert areas[1] == pytest.approx(areas[0], abs=0.05)


def test_tasks_that_validation_cannot_judge_are_named_once(
    new_model: NewModel, train: CTStudies, validation: CTStudies, caplog: pytest.LogCaptureFixture
) -> None:
    list(fit(new_model(), train, validation, replace(FIT, epochs=2)))
    told = [record.message for record in caplog.records if "not evaluable" in record.message]
    assert told == ["1 tasks are not evaluable, fewer than 1 validation studies of a class: never_known"]
