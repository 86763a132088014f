"""Records are added one by one and read back together."""

from pathlib import Path

import pytest
from kedro.io import DatasetError

from hyperct_pipeline.datasets import RecordFolder


def test_records_accumulate(tmp_path: Path) -> None:
    dataset = RecordFolder(str(tmp_path / "rows"))
    assert dataset.load() == {}
    dataset.save({"b": {"status": "converted", "hu_min": None}})
    dataset.save({"a": {"status": "refused"}})
    assert list(dataset.load().items()) == [
        ("a", {"status": "refused"}),
        ("b", {"status": "converted", "hu_min": None}),
    ]


def test_a_number_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    dataset = RecordFolder(str(tmp_path / "rows"))
    with pytest.raises(DatasetError, match="not JSON compliant"):
        dataset.save({"a": {"x": float("nan")}})
    assert dataset.load() == {}
