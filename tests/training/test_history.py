"""Where training goes on, and which epoch is the best."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from hyperct_pipeline.errors import ConfigError, PackageError
from hyperct_pipeline.model.backbone import build_backbone
from hyperct_pipeline.model.hyperct import HyperCT
from hyperct_pipeline.model.settings import BackboneConfig
from hyperct_pipeline.training.checkpoint import Checkpoint
from hyperct_pipeline.training.dataset import LabelledStudies
from hyperct_pipeline.training.history import (
    backbone_digest_of,
    best_epoch,
    checkpoint_to_resume,
    current_rows,
    epochs_to_keep,
    refuse_other_training,
    settings_digest,
    start_digest,
)
from hyperct_pipeline.training.settings import FitConfig

from .conftest import BACKBONE, MODEL, SLICES, TASKS


@dataclass(frozen=True)
class Saved:
    """Counts how often it is read whole."""

    epoch: int
    settings: str
    read: list[int]
    broken: bool = False

    def state(self) -> dict[str, object]:
        return {"epoch": self.epoch, "settings": self.settings, "metrics": {}}

    def __call__(self) -> Checkpoint:
        self.read.append(self.epoch)
        if self.broken:
            raise PackageError("epoch_002/weights.safetensors is missing or broken")
        return Checkpoint({}, {}, self.state())


def done(*settings: str) -> tuple[dict[str, Saved], list[int]]:
    read: list[int] = []
    return {f"epoch_{k:03d}": Saved(k, digest, read) for k, digest in enumerate(settings, start=1)}, read


@pytest.mark.parametrize(
    ("settings", "epoch"),
    [((), None), (("now",), 1), (("now", "now"), 2), (("now", "old"), 1), (("old", "old"), None), (("old", "now"), 2)],
)
def test_resume_from_the_newest_of_the_same_settings(settings: tuple[str, ...], epoch: int | None) -> None:
    saved, read = done(*settings)
    found = checkpoint_to_resume(saved, "now")
    assert (found.state["epoch"] if found else None) == epoch
    assert read == ([] if epoch is None else [epoch])  # no other one is read whole


def test_a_broken_checkpoint_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    saved, read = done("now")
    found = checkpoint_to_resume(saved | {"epoch_002": Saved(2, "now", read, broken=True)}, "now")
    assert found is not None and found.state["epoch"] == 1
    assert "training goes on from the checkpoint before" in caplog.text


def test_last_epochs_and_the_best_are_kept() -> None:
    areas = [0.5, 0.9, 0.9, 0.6, 0.7]
    rows = {f"epoch_{k:03d}": row(k, validation_auroc=area) for k, area in enumerate(areas, start=1)}
    assert epochs_to_keep(rows, "epoch_005", 2) == {"epoch_002", "epoch_004", "epoch_005"}
    assert epochs_to_keep(rows, "epoch_005", 1) == {"epoch_002", "epoch_005"}
    older = {"epoch_001": row(1, "new"), "epoch_002": rows["epoch_002"]}
    assert epochs_to_keep(older, "epoch_001", 2) == {"epoch_001"}


def row(epoch: int, settings: str = "now", **metrics: float) -> dict[str, object]:
    return {"epoch": epoch, "settings": settings, **metrics}


def test_best_is_the_earliest_of_the_highest_auroc() -> None:
    history = {
        "epoch_001": row(1, train_loss=0.1),
        "epoch_002": row(2, validation_auroc=0.8),
        "epoch_003": row(3, validation_auroc=0.8),
        "epoch_004": row(4, "old", validation_auroc=0.99),
    }
    assert best_epoch(history) == "epoch_002"
    assert list(current_rows(history)) == ["epoch_001", "epoch_002", "epoch_003"]


def test_best_without_auroc_and_without_validation() -> None:
    losses = {"epoch_001": row(1, validation_loss=0.5), "epoch_002": row(2, validation_loss=0.6)}
    assert best_epoch(losses) == "epoch_001"
    assert best_epoch({"epoch_001": row(1), "epoch_002": row(2)}) == "epoch_002"


def test_digest_follows_what_the_weights_depend_on() -> None:
    studies = LabelledStudies(("a",), ("p",), np.zeros((1, 2), dtype=np.int8))
    relabelled = LabelledStudies(("a",), ("p",), np.ones((1, 2), dtype=np.int8))
    rescanned = LabelledStudies(("a",), ("p",), np.zeros((1, 2), dtype=np.int8), ("other voxels",))

    def digest(
        config: FitConfig, split: LabelledStudies, weights: str = "w", backbone: BackboneConfig = BACKBONE
    ) -> str:
        return settings_digest(backbone, MODEL, SLICES, config, "prepared-so", ("x", "y"), (split,), weights)

    start = digest(FitConfig(), studies)
    assert digest(FitConfig(device="cpu"), studies) == start
    assert digest(FitConfig(), studies, backbone=replace(BACKBONE, weights="moved.safetensors")) == start
    others = [digest(FitConfig(lr=1.0), studies), digest(FitConfig(), relabelled), digest(FitConfig(), rescanned)]
    assert len({start, *others, digest(FitConfig(), studies, "other")}) == 5


def test_backbone_digest_follows_the_content_of_the_file(tmp_path: Path) -> None:
    state = build_backbone(BACKBONE).state_dict()
    files = [tmp_path / "a.safetensors", tmp_path / "b.safetensors", tmp_path / "a" / "a.safetensors"]
    files[2].parent.mkdir()
    for file, factor in zip(files, (1.0, 2.0, 1.0), strict=True):
        save_file({name: value * factor for name, value in state.items()}, file)
    first, doubled, moved = (backbone_digest_of(replace(BACKBONE, weights=str(file))) for file in files)
    assert first == moved == backbone_digest_of(BACKBONE) != doubled


def test_a_checkpoint_of_another_training_is_refused() -> None:
    model = HyperCT(build_backbone(BACKBONE), TASKS, MODEL)
    start = start_digest(model)
    state = {"epoch": 3, "tasks": list(TASKS), "start": start, "settings": "now"}
    refuse_other_training(Checkpoint({}, {}, state), TASKS, start, "now")
    for task_order, other, settings, message in (
        (TASKS[::-1], start, "now", r"epoch 3 is of other tasks: expected \['never_known'.*found \['bright_left'"),
        (TASKS, start_digest(HyperCT(build_backbone(BACKBONE), TASKS, replace(MODEL, scale=2.0))), "now", "model set"),
        (TASKS, start_digest(HyperCT(build_backbone(replace(BACKBONE, seed=1)), TASKS, MODEL)), "now", "backbone w"),
        (TASKS, start, "then", "other data: expected settings then, found now"),
    ):
        with pytest.raises(ConfigError, match=message):
            refuse_other_training(Checkpoint({}, {}, state), task_order, other, settings)
