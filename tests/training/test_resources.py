"""The estimate of memory against what autograd keeps, and what is done when it does not fit."""

import logging
from dataclasses import replace

import pytest
import torch

from hyperct_pipeline.errors import ConfigError
from hyperct_pipeline.model.backbone import build_backbone
from hyperct_pipeline.model.hyperct import HyperCT
from hyperct_pipeline.training import resources
from hyperct_pipeline.training.dataset import CTStudies
from hyperct_pipeline.training.resources import chosen_micro_batch, needs_of
from hyperct_pipeline.training.settings import FitConfig

from .conftest import BACKBONE, MODEL, TASKS

FIT = FitConfig(batch_size=8, tasks_per_scan=2, device="cpu")
CPU = torch.device("cpu")


def model_of(**changes: object) -> HyperCT:
    backbone = replace(BACKBONE, embed_dim=64, depth=6)
    return HyperCT(build_backbone(backbone), TASKS, replace(MODEL, dropout=0.0, **changes))


def kept_bytes(model: HyperCT, n_scans: int, n_tasks: int) -> int:
    """Bytes of distinct storages that the backward pass keeps, apart from parameters."""
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    storages: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    scan = torch.arange(n_scans).repeat_interleave(n_tasks)
    task = torch.arange(n_tasks).repeat(n_scans)
    x, mask = torch.randn(n_scans, 4, 3, 32, 32), torch.ones(n_scans, 4, dtype=torch.bool)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = model(x, mask, task, scan)
        del scan, task
        assert logits.requires_grad
    return sum(storages.values())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("changes", [{}, {"adapt_from_block": 3}, {"method": "shared_lora"}])
def test_activations_are_counted_rightly(train: CTStudies, precision: str, changes: dict[str, object]) -> None:
    model = model_of(**changes)
    model.precision = precision
    found = (kept_bytes(model, 10, 2) - kept_bytes(model, 2, 2)) / 8
    images = 4 * 3 * 32 * 32 * 6  # of the loader, which autograd does not keep
    counted = needs_of(model, train, replace(FIT, precision=precision)).scan_bytes - images
    assert found == pytest.approx(counted, rel=0.25)


def test_checkpointing_and_features_need_less(train: CTStudies) -> None:
    model = model_of()
    plain, sparing = (needs_of(model, train, replace(FIT, checkpointing=c)).scan_bytes for c in (False, True))
    features = needs_of(model_of(method="linear_probe"), train, FIT)
    assert features.scan_bytes < sparing < 0.5 * plain
    assert features.host_bytes > 20 * 4 * 64 * 4


def test_trained_weights_are_counted_with_gradient_and_moments(train: CTStudies) -> None:
    model = model_of(method="linear_probe")
    trained = sum(p.numel() for p in model.trainable_parameters().values())
    frozen = sum(p.numel() for p in model.backbone.parameters())
    assert needs_of(model, train, FIT).model_bytes == frozen * 4 + trained * 16
    assert needs_of(model, train, replace(FIT, ema_decay=0.9)).model_bytes == frozen * 4 + trained * 20
    assert needs_of(model, train, FIT, n_processes=2).model_bytes == frozen * 4 + trained * 20


def test_micro_batch_is_lowered_with_a_message_and_refused_where_nothing_fits(
    train: CTStudies, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = model_of()
    needs = needs_of(model, train, FIT)
    with caplog.at_level(logging.INFO):
        assert chosen_micro_batch(model, train, FIT, CPU, 1) == 8
        assert "training needs about" in caplog.text and "instead of" not in caplog.text
        assert chosen_micro_batch(model, train, FIT, CPU, 2) == 4
        assert chosen_micro_batch(model, train, replace(FIT, micro_batch_size=3), CPU, 1) == 3
        monkeypatch.setattr(resources, "free_bytes", lambda device: needs.device_bytes(3) / 0.8)
        assert chosen_micro_batch(model, train, FIT, CPU, 1) == 2
        assert "memory allows 2 scans at once instead of 8: gradients are accumulated" in caplog.text
    monkeypatch.setattr(resources, "free_bytes", lambda device: needs.device_bytes(8) * 1.3)
    assert chosen_micro_batch(model, train, FIT, CPU, 1) == 8
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")  # two processes share what is free
    assert chosen_micro_batch(model, train, FIT, CPU, 1) < 8
    monkeypatch.delenv("LOCAL_WORLD_SIZE")
    monkeypatch.setattr(resources, "free_bytes", lambda device: needs.device_bytes(1))
    with pytest.raises(ConfigError, match=r"GiB on cpu for one scan at a time.*fit\.checkpointing=true"):
        chosen_micro_batch(model, train, FIT, CPU, 1)


def test_too_little_memory_of_the_host_is_refused(train: CTStudies, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of()
    needs = needs_of(model, train, FIT)
    monkeypatch.setattr(resources, "free_bytes", lambda device: needs.host_bytes)
    with pytest.raises(ConfigError, match=r"GiB of the host's memory for a checkpoint in the making and kept features"):
        chosen_micro_batch(model, train, FIT, CPU, 1)
