"""The device of a model."""

from typing import Any

import pytest
import torch

from hyperct_pipeline.errors import ConfigError
from hyperct_pipeline.training.device import device_of
from hyperct_pipeline.training.launch import refuse_processes
from hyperct_pipeline.training.settings import FitConfig


def test_cuda_is_never_replaced_by_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of("auto") == device_of("cpu") == torch.device("cpu")
    with pytest.raises(ConfigError, match="device is cuda:1, but torch sees 0 CUDA devices: look at `nvidia-smi`"):
        device_of("cuda:1")


def test_auto_is_cuda_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device_of("auto") == torch.device("cuda")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "", "cpu2"])
def test_a_name_that_is_no_device_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"fit\.device must be auto"):
        FitConfig(device=name)


def test_epochs_whose_names_would_not_sort() -> None:
    assert FitConfig(epochs=999).epochs == 999
    with pytest.raises(ValueError, match=r"fit\.epochs must be at most 999, found 1000"):
        FitConfig(epochs=1000)


@pytest.mark.parametrize("many", [{"n_processes": 2}, {"n_nodes": 2, "rendezvous": "node0:29500"}])
def test_one_gpu_by_number_is_not_for_several_processes(many: dict[str, Any]) -> None:
    assert FitConfig(device="cuda", **many).device == "cuda"
    with pytest.raises(ValueError, match=r"fit\.device is cuda:3.*say cuda"):
        FitConfig(device="cuda:3", **many)


@pytest.mark.parametrize("many", [{"n_processes": 2}, {"n_nodes": 2, "rendezvous": "node0:29500"}])
def test_pipelines_that_train_in_one_process_refuse_more(many: dict[str, Any]) -> None:
    refuse_processes(FitConfig(), "compare")
    with pytest.raises(ConfigError, match="but `compare` trains in one process: set both to 1"):
        refuse_processes(FitConfig(**many), "compare")
