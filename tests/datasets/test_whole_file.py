"""Files appear whole or not at all."""

from pathlib import Path

import pandas as pd
import pytest
from kedro.io import DatasetError

from hyperct_pipeline.datasets import CalibrationDocument, CsvTable, JsonDocument, TextDocument


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


NAMES = (
    "1", "007", "True", "1.0", "1e5", "NA", "nan", "null", "None", "=x", "'=x", "''-x", "+a", "-x", "@a", "-5", "'-5",
    "'x", " lead", 'a,"b"\nc', "tab\tx",
)  # fmt: skip


def test_names_are_read_as_they_were_saved(tmp_path: Path) -> None:
    table = pd.DataFrame({"task": [*NAMES, None], "cohort": None, "value": 0.1 + 0.2, "n": 3, "in_claims": True})
    dataset = CsvTable(filepath=str(tmp_path / "t.csv"))
    dataset.save(table)
    read = dataset.load()
    assert read["task"].tolist()[:-1] == list(NAMES)
    assert pd.isna(read["task"].iloc[-1]) and read["cohort"].isna().all()
    assert set(read["value"]) == {0.1 + 0.2}
    assert read[["n", "in_claims"]].dtypes.tolist() == ["int64", "bool"]
    written = (tmp_path / "t.csv").read_text()
    assert "\n=x" not in written and "\n'=x," in written
    dataset.save(table.iloc[:0])
    assert list(dataset.load().columns) == list(table.columns)


def test_each_file_keeps_its_own_names_alone(tmp_path: Path) -> None:
    dataset = CsvTable(filepath=str(tmp_path / "t.csv"))
    dataset.save(pd.DataFrame({"note": ["=a", "b"], "value": ["", "2"]}))
    assert dataset.load()["note"].tolist() == ["=a", "b"]
    assert dataset.load()["value"].sum() == 2.0
    assert dataset.preview(nrows=1)["data"][0][0] == "=a"


def test_a_calibration_of_other_studies_is_replaced_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = CalibrationDocument(filepath=str(tmp_path / "calibration.json"))
    dataset.save({"split_digest": "a", "tasks": {}})
    dataset.save({"split_digest": "a", "tasks": {"t": {}}})
    assert not caplog.messages
    dataset.save({"split_digest": "b", "tasks": {}})
    assert "fitted on other validation studies; it is replaced" in caplog.text
    assert dataset.load() == {"split_digest": "b", "tasks": {}}
