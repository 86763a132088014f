"""Scores of stored volumes."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hyperct_pipeline.errors import PackageError, StoreError
from hyperct_pipeline.evaluation.inference import logged_progress, predict_logits
from hyperct_pipeline.volumes.store import StoredVolume, VolumeStore

CPU = torch.device("cpu")


@pytest.fixture
def store(tmp_path: Path, stored: StoredVolume) -> VolumeStore:
    """Three volumes, uniform at -1000, 0 and 1000 HU."""
    store = VolumeStore(tmp_path)
    for key, hu in (("air", -1000), ("water", 0), ("bone", 1000)):
        store.put(key, replace(stored, hu=np.full_like(stored.hu, hu)))
    return store


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_rows_follow_the_keys(package: SimpleNamespace, store: VolumeStore, batch_size: int) -> None:
    seen: list[tuple[int, int]] = []
    logits = predict_logits(
        package, store, ["bone", "air", "water"], CPU, batch_size, lambda d, n, s: seen.append((d, n))
    )
    assert logits.dtype == np.float64
    np.testing.assert_allclose(logits, [[1, -1], [0, 0], [0.5, -0.5]], atol=1e-6)
    assert seen[-1] == (3, 3)


def test_other_preprocessing_is_refused(package: SimpleNamespace, store: VolumeStore) -> None:
    package.preprocess_digest = "d2"
    with pytest.raises(PackageError, match=r"study air.*settings d1.*trained with d2"):
        predict_logits(package, store, ["air"], CPU)


def test_a_missing_volume_is_an_error(package: SimpleNamespace, store: VolumeStore) -> None:
    with pytest.raises(StoreError, match="nobody"):
        predict_logits(package, store, ["air", "nobody"], CPU)


def test_logits_that_are_not_finite_name_studies_and_tasks(
    package: SimpleNamespace, store: VolumeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = package.model.logits_all_tasks

    def overflowing(x: torch.Tensor, mask: torch.Tensor, precision: str | None) -> torch.Tensor:
        scores = whole(x, mask)
        scores[scores[:, 0] == 1.0, 1] = torch.inf  # bone, for the second task
        return scores

    monkeypatch.setattr(package.model, "logits_all_tasks", overflowing)
    with pytest.raises(PackageError, match=r"1 of 2 logits are not finite; studies bone; tasks dark\. Score with"):
        predict_logits(package, store, ["air", "bone", "water"], CPU, batch_size=1)
    assert predict_logits(package, store, ["air", "water"], CPU).shape == (2, 2)


def test_no_study_gives_no_row(package: SimpleNamespace, store: VolumeStore) -> None:
    assert predict_logits(package, store, [], CPU).shape == (0, 2)


def test_progress_is_logged_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    report = logged_progress(every_s=10.0)
    for done in range(1, 31):
        report(done, 30, float(done))
    lines = [record.message for record in caplog.records]
    assert lines == [f"scored {k} of 30 studies, 1.00 per second, {30 - k} s left" for k in (10, 20, 30)]
