"""The folder of checkpoints: what stays on disk, and what is read."""

from pathlib import Path

import pytest
import torch

from hyperct_pipeline.datasets import CheckpointFolder
from hyperct_pipeline.training.checkpoint import Checkpoint


def checkpoint(epoch: int, auroc: float, settings: str = "now") -> Checkpoint:
    state = {"epoch": epoch, "settings": settings, "metrics": {"validation_auroc": auroc}}
    return Checkpoint({"w": torch.full((2,), float(epoch))}, {"w|step": torch.tensor(1.0)}, state)


def test_last_and_best_stay(tmp_path: Path) -> None:
    folder = CheckpointFolder(str(tmp_path / "checkpoints"), keep_last=2)
    assert folder.load() == {}
    for epoch, auroc in enumerate([0.6, 0.9, 0.7, 0.8, 0.5], start=1):
        folder.save({f"epoch_{epoch:03d}": checkpoint(epoch, auroc)})
    assert list(folder.load()) == ["epoch_002", "epoch_004", "epoch_005"]
    assert folder.load()["epoch_002"]().weights["w"].tolist() == [2.0, 2.0]


def test_another_training_takes_the_place_of_the_last(tmp_path: Path) -> None:
    folder = CheckpointFolder(str(tmp_path / "checkpoints"))
    for epoch in (1, 2, 3):
        folder.save({f"epoch_{epoch:03d}": checkpoint(epoch, 0.9)})
    folder.save({"epoch_001": checkpoint(1, 0.1, "new")})
    assert list(folder.load()) == ["epoch_001"]
    assert folder.load()["epoch_001"].state()["settings"] == "new"


def test_state_is_read_without_the_tensors(tmp_path: Path) -> None:
    folder = CheckpointFolder(str(tmp_path / "checkpoints"))
    folder.save({"epoch_001": checkpoint(1, 0.9)})
    (tmp_path / "checkpoints" / "epoch_001" / "weights.safetensors").unlink()
    assert folder.load()["epoch_001"].state()["epoch"] == 1


def test_average_comes_back(tmp_path: Path) -> None:
    folder = CheckpointFolder(str(tmp_path / "checkpoints"))
    kept = checkpoint(1, 0.9)
    averaged = Checkpoint(kept.weights, kept.optimiser, kept.state, {"w": torch.tensor([0.5, 0.25])})
    folder.save({"epoch_001": averaged})
    assert folder.load()["epoch_001"]().average["w"].tolist() == [0.5, 0.25]


def test_nothing_to_keep_is_refused() -> None:
    with pytest.raises(ValueError, match="keep_last must be at least 1"):
        CheckpointFolder("x", keep_last=0)
