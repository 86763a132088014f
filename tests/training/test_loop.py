"""Training: it learns, it repeats itself to the last digit, it resumes exactly, and it stops when it must."""

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from hyperct_pipeline.errors import ConfigError, LeakageError
from hyperct_pipeline.model.hyperct import HyperCT
from hyperct_pipeline.training.dataset import CTStudies, LabelledStudies
from hyperct_pipeline.training.divergence import DivergenceError
from hyperct_pipeline.training.loop import fit
from hyperct_pipeline.training.optimisation import schedule
from hyperct_pipeline.training.run_state import load_trained
from hyperct_pipeline.training.settings import FitConfig
from hyperct_pipeline.volumes.store import VolumeStore

from .conftest import DIGEST, SLICES

FIT = FitConfig(epochs=3, batch_size=8, tasks_per_scan=2, lr=3e-3, clip_norm=1.0, device="cpu")
NewModel = Callable[[], HyperCT]


def test_overfits_two_tasks_and_generalises(new_model: NewModel, train: CTStudies, validation: CTStudies) -> None:
    epochs = list(fit(new_model(), train, validation, replace(FIT, epochs=30, validation_every=30)))
    assert epochs[-1].metrics["train_loss"] < 0.1 < 0.5 < epochs[0].metrics["train_loss"]
    assert epochs[-1].metrics["validation_auroc"] > 0.95
    assert "validation_auroc" not in epochs[0].metrics
    undefined = {"train_loss/never_known", "validation_auroc/never_known"}
    assert {key for key, value in epochs[-1].metrics.items() if value is None} == undefined
    defined = [value for epoch in epochs for value in epoch.metrics.values() if value is not None]
    assert all(math.isfinite(value) for value in defined)


def test_same_seed_gives_the_same_weights_to_the_last_digit(
    new_model: NewModel, train: CTStudies, validation: CTStudies
) -> None:
    state = torch.get_rng_state()
    first, second = (list(fit(new_model(), train, validation, FIT)) for _ in range(2))
    assert torch.equal(state, torch.get_rng_state())
    assert [e.metrics["train_loss"] for e in first] == [e.metrics["train_loss"] for e in second]
    for name, value in first[-1].checkpoint.weights.items():
        assert torch.equal(value, second[-1].checkpoint.weights[name])
    other = next(fit(new_model(), train, validation, replace(FIT, seed=1)))
    assert other.metrics["train_loss"] != first[0].metrics["train_loss"]


def test_resumed_training_equals_uninterrupted_training(
    new_model: NewModel, train: CTStudies, validation: CTStudies
) -> None:
    whole = list(fit(new_model(), train, validation, FIT))
    stopped = list(itertools.islice(fit(new_model(), train, validation, FIT), 2))
    resumed = list(fit(new_model(), train, validation, FIT, resume=stopped[-1].checkpoint))
    assert [epoch.name for epoch in resumed] == ["epoch_003"]
    assert resumed[0].metrics["train_loss"] == whole[2].metrics["train_loss"]
    for kind in ("weights", "optimiser"):
        expected, found = getattr(whole[2].checkpoint, kind), getattr(resumed[0].checkpoint, kind)
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[key], found[key]) for key in expected)


def test_only_the_intended_parameters_move(new_model: NewModel, train: CTStudies, validation: CTStudies) -> None:
    model = new_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    (epoch,) = fit(model, train, validation, replace(FIT, epochs=1))
    for name, value in model.state_dict().items():
        if name.startswith("backbone."):
            assert torch.equal(value, before[name]), name
    assert not torch.equal(model.task_embeddings[:2], before["task_embeddings"][:2])
    assert torch.equal(model.task_embeddings[2], before["task_embeddings"][2])  # its label is never known
    assert epoch.checkpoint.weights.keys() == model.trainable_parameters().keys()


def test_scans_without_labels_contribute_nothing(
    new_model: NewModel, train: CTStudies, validation: CTStudies, store: VolumeStore
) -> None:
    """Studies of unknown labels at the end change neither loss nor weights."""
    more = LabelledStudies(
        (*train.studies.study_keys, "absent"),
        (*train.studies.patient_keys, "patient-absent"),
        np.concatenate([train.studies.labels, np.full((1, 3), -1, dtype=np.int8)]),
    )
    with_unknown = CTStudies(store, more, SLICES, DIGEST, seed=0)
    first = next(fit(new_model(), train, validation, FIT))
    second = next(fit(new_model(), with_unknown, validation, FIT))
    assert first.metrics["train_loss"] == second.metrics["train_loss"]


def test_nan_stops_and_names_the_place(new_model: NewModel, train: CTStudies, validation: CTStudies) -> None:
    model = new_model()
    epochs = fit(model, train, validation, FIT)
    next(epochs)
    with torch.no_grad():
        model.head[1].bias.fill_(math.nan)
    with pytest.raises(
        DivergenceError, match=r"epoch 2, step 1; tasks bright_left, dark_centre; studies t\d{3}, .*before is"
    ):
        next(epochs)
    assert all(not value.isnan().any() for name, value in model.trainable_parameters().items() if name != "head.1.bias")


def test_nan_in_the_first_epoch_promises_no_checkpoint(
    new_model: NewModel, train: CTStudies, validation: CTStudies
) -> None:
    model = new_model()
    with torch.no_grad():
        model.head[1].bias.fill_(math.nan)
    with pytest.raises(DivergenceError, match=r"epoch 1, step 1;.*There is no checkpoint yet; lower fit\.lr"):
        next(fit(model, train, validation, FIT))


@pytest.mark.parametrize("clip_norm", [1.0, None])
def test_a_gradient_that_is_not_finite_never_reaches_the_weights(
    new_model: NewModel, train: CTStudies, validation: CTStudies, clip_norm: float | None
) -> None:
    model = new_model()
    epochs = fit(model, train, validation, replace(FIT, clip_norm=clip_norm))
    next(epochs)
    model.head[1].weight.register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(DivergenceError, match="the loss or its gradient is not finite in epoch 2, step 1"):
        next(epochs)
    assert all(value.isfinite().all() for value in model.trainable_parameters().values())


def test_shared_patients_are_refused(new_model: NewModel, train: CTStudies) -> None:
    with pytest.raises(LeakageError, match="20 patients"):
        next(fit(new_model(), train, train, FIT))


def test_nothing_to_train_on(new_model: NewModel, store: VolumeStore, validation: CTStudies) -> None:
    nothing = LabelledStudies((), (), np.empty((0, 3), dtype=np.int8))
    with pytest.raises(ConfigError, match="nothing to train on"):
        next(fit(new_model(), CTStudies(store, nothing, SLICES, DIGEST), validation, FIT))


def test_training_without_validation_studies(new_model: NewModel, store: VolumeStore, train: CTStudies) -> None:
    nothing = LabelledStudies((), (), np.empty((0, 3), dtype=np.int8))
    (epoch,) = fit(new_model(), train, CTStudies(store, nothing, SLICES, DIGEST), replace(FIT, epochs=1))
    assert "validation_loss" not in epoch.metrics


def test_bf16_runs_close_to_fp32(new_model: NewModel, train: CTStudies, validation: CTStudies) -> None:
    losses = [
        next(fit(new_model(), train, validation, replace(FIT, precision=precision))).metrics["train_loss"]
        for precision in ("fp32", "bf16")
    ]
    assert losses[1] == pytest.approx(losses[0], abs=0.03) and losses[0] != losses[1]


@pytest.mark.parametrize(("class_balance", "weight"), [("none", 1.0), ("balanced", 4.0)])
def test_balanced_weights_act_on_positives(
    new_model: NewModel,
    train: CTStudies,
    validation: CTStudies,
    store: VolumeStore,
    class_balance: str,
    weight: float,
) -> None:
    """4 positives among 20, the logit z for all, u = z + log w: w * 0.2 softplus(-u) + 0.8 softplus(u)."""
    labels = np.zeros_like(train.studies.labels)
    labels[:4] = 1
    skewed = CTStudies(store, replace(train.studies, labels=labels), SLICES, DIGEST, seed=0)
    model, z = new_model(), 0.7
    with torch.no_grad():
        model.head[1].weight.zero_()
        model.head[1].bias.fill_(z)
    config = replace(FIT, lr=1e-9, tasks_per_scan=3, batch_size=20, class_balance=class_balance)
    u = z + math.log(weight)
    expected = weight * 0.2 * math.log1p(math.exp(-u)) + 0.8 * math.log1p(math.exp(u))
    assert next(fit(model, skewed, validation, config)).metrics["train_loss"] == pytest.approx(expected, abs=1e-5)


def test_schedule() -> None:
    assert [schedule(step, 10, 4) for step in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert schedule(7, 10, 4) == pytest.approx(0.5)
    assert schedule(10, 10, 4) == pytest.approx(0.0)


def test_checkpoint_of_another_model_is_refused(new_model: NewModel, train: CTStudies, validation: CTStudies) -> None:
    checkpoint = next(fit(new_model(), train, validation, FIT)).checkpoint
    smaller = HyperCT(new_model().backbone, ("one",), new_model().config)
    with pytest.raises(ConfigError, match=r"1 tensors differ, e\.g\. \['task_embeddings'\]"):
        load_trained(smaller, checkpoint)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"lr": 0.0}, "lr must be positive"),
        ({"clip_norm": 0.0}, "clip_norm"),
        ({"betas": (0.9, 1.0)}, "betas"),
        ({"device": "gpu"}, "device must be"),
        ({"precision": "fp8"}, "fp32"),
        ({"leraning_rate": 1.0}, "Unexpected keyword"),
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(FitConfig).validate_python(wrong)
