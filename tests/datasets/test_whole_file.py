"""Files appear whole or not at all."""

from pathlib import Path

import pandas as pd
import pytest
from kedro.io import DatasetError

from hyperct_pipeline.datasets import CsvTable, JsonDocument, TextDocument


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    CsvTable(filepath=str(tmp_path / "new/t.csv")).save(pd.DataFrame({"task": ["a", None], "value": [0.5, None]}))
    assert (tmp_path / "new/t.csv").read_text() == "task,value\na,0.5\n,\n"
    JsonDocument(filepath=str(tmp_path / "j.json")).save({"n": None})
    assert JsonDocument(filepath=str(tmp_path / "j.json")).load() == {"n": None}
    TextDocument(filepath=str(tmp_path / "t.html")).save("ä")
    assert TextDocument(filepath=str(tmp_path / "t.html")).load() == "ä"


def test_a_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    document = JsonDocument(filepath=str(tmp_path / "j.json"))
    document.save({"n": 1})
    with pytest.raises(DatasetError):
        document.save({"n": float("nan")})
    assert document.load() == {"n": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["j.json"]
