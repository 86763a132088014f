"""Tables of studies survive the way to disk unchanged."""

from pathlib import Path

import pandas as pd
import pytest
from kedro.io import DatasetError

from hyperct_pipeline.datasets import StudyTable


def test_nullable_columns_and_lists_round_trip(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "study_key": ["007", "008"],
            "label": pd.array([1, None], dtype="Int8"),
            "reason_codes": [["A", "B"], []],
        }
    )
    dataset = StudyTable(str(tmp_path / "t.parquet"))
    dataset.save(table)
    loaded = dataset.load()
    assert loaded["study_key"].tolist() == ["007", "008"]
    assert loaded["label"].dtype == "Int8"
    assert loaded["label"].isna().tolist() == [False, True]
    assert loaded["reason_codes"].tolist() == ["A;B", ""]
    assert (tmp_path / "t.csv").read_text() == "study_key,label,reason_codes\n007,1,A;B\n008,,\n"


def test_a_missing_table_is_an_error_unless_optional(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="The table t does not exist yet"):
        StudyTable(str(tmp_path / "t.parquet")).load()
    assert StudyTable(str(tmp_path / "t.parquet"), optional=True).load().empty


def test_a_failed_save_leaves_the_old_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = StudyTable(str(tmp_path / "t.parquet"))
    dataset.save(pd.DataFrame({"a": [1]}))
    monkeypatch.setattr(pd.DataFrame, "to_parquet", lambda *_, **__: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(DatasetError):
        dataset.save(pd.DataFrame({"a": [2]}))
    assert dataset.load()["a"].tolist() == [1]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["t.csv", "t.parquet"]
