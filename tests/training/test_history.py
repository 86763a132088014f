"""Where training goes on, and which epoch is the best."""

from collections.abc import Callable

import numpy as np
import pytest

from hyperct_pipeline.errors import PackageError
from hyperct_pipeline.training.checkpoint import Checkpoint
from hyperct_pipeline.training.dataset import LabelledStudies
from hyperct_pipeline.training.history import best_epoch, checkpoint_to_resume, current_rows, settings_digest
from hyperct_pipeline.training.settings import FitConfig

from .conftest import BACKBONE, MODEL, SLICES


def done(*settings: str) -> dict[str, Callable[[], Checkpoint]]:
    def loader(epoch: int, digest: str) -> Callable[[], Checkpoint]:
        return lambda: Checkpoint({}, {}, {"epoch": epoch, "settings": digest, "metrics": {}})

    return {f"epoch_{k:03d}": loader(k, digest) for k, digest in enumerate(settings, start=1)}


@pytest.mark.parametrize(
    ("settings", "epoch"),
    [
        ((), None),
        (("now",), 1),
        (("now", "now"), 2),
        (("now", "old"), 1),
        (("old", "old"), None),
        (("old", "now"), None),
    ],
)
def test_resume_from_the_newest_of_an_unbroken_line(settings: tuple[str, ...], epoch: int | None) -> None:
    found = checkpoint_to_resume(done(*settings), "now")
    assert (found.state["epoch"] if found else None) == epoch


def test_a_broken_checkpoint_is_passed_over() -> None:
    def broken() -> Checkpoint:
        raise PackageError("epoch_002/state.json is missing or broken")

    found = checkpoint_to_resume(done("now") | {"epoch_002": broken}, "now")
    assert found is not None and found.state["epoch"] == 1


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

    def digest(config: FitConfig, split: LabelledStudies) -> str:
        return settings_digest(BACKBONE, MODEL, SLICES, config, "prepared-so", ("x", "y"), (split,))

    start = digest(FitConfig(), studies)
    assert digest(FitConfig(device="cpu"), studies) == start
    others = [digest(FitConfig(lr=1.0), studies), digest(FitConfig(), relabelled), digest(FitConfig(), rescanned)]
    assert len({start, *others}) == 4
