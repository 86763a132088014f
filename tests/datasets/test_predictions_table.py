"""A predictions table from another system, in either format."""

from pathlib import Path

import pandas as pd
import pytest
from kedro.io import DatasetError

from hyperct_pipeline.datasets import PredictionsTable
from hyperct_pipeline.datasets.predictions_table import read_predictions
from hyperct_pipeline.errors import LabelTableError
from hyperct_pipeline.evaluation.prediction_checks import checked_predictions

TABLE = pd.DataFrame(
    {
        "study_key": ["007", "008"],
        "patient_key": ["1", "2"],
        "task": "lung_nodule",
        "label": pd.array([1, None], dtype="Int8"),
        "probability": [0.1 + 0.2, 1.0 / 3.0],
    }
)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_both_formats_give_the_same_table(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"theirs.{ending}"
    TABLE.to_csv(file, index=False) if ending == "csv" else TABLE.to_parquet(file)
    dataset = PredictionsTable("predictions", str(tmp_path / "ours.parquet"), given=str(file))
    assert dataset.exists()
    read = checked_predictions(dataset.load())
    assert read["study_key"].tolist() == ["007", "008"]
    assert read["label"].tolist() == [1, pd.NA]
    assert read["probability"].tolist() == TABLE["probability"].tolist()


def test_ours_is_read_where_none_is_given_and_none_where_there_is_none(tmp_path: Path) -> None:
    own = tmp_path / "ours.parquet"
    dataset = PredictionsTable("predictions", str(own))
    assert not dataset.exists()
    with pytest.raises(DatasetError, match="run `kedro run --pipeline=predict` first"):
        dataset.load()
    TABLE.to_parquet(own)
    assert dataset.load()["probability"].tolist() == TABLE["probability"].tolist()
    assert PredictionsTable("validation").load() is None
    with pytest.raises(DatasetError, match="never written"):
        dataset.save(TABLE)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_text_labels_are_refused_in_our_words(tmp_path: Path, ending: str) -> None:
    file, table = tmp_path / f"theirs.{ending}", TABLE.assign(label=["positive", "negative"])
    table.to_csv(file, index=False) if ending == "csv" else table.to_parquet(file)
    with pytest.raises(LabelTableError, match=r"label is not a number \(2 rows\)"):
        checked_predictions(PredictionsTable("predictions", given=str(file)).load())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("jane_doe.parquet", b"no parquet", r"not readable as parquet"),
        ("jane_doe.csv", b"", r"'predictions' is empty: there is no header"),
        ("jane_doe.csv", b"a\n1,2,3\n", r"not readable as csv \(ArrowInvalid\)"),
        ("jane_doe.csv", b"a,b\n1\n", r"not readable as csv \(ArrowInvalid\).*cut off"),
        ("jane_doe.csv", b"a\n\xff\n", r"not readable as csv"),
        ("jane_doe.csv", b"a,b\n1,0.3", r"does not end with a line break, so it may be cut off"),
        ("jane_doe.csv", b"a,a\n1,2\n", r"columns stand twice: \['a'\]"),
        ("jane_doe.xlsx", b"PK", r"ends in '.xlsx', not .csv or .parquet"),
        ("jane_doe.csv", None, r"is not a file that can be reached"),
    ],
)
def test_unreadable_tables_are_refused_without_their_path(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=message) as caught:
        PredictionsTable("predictions", given=str(tmp_path / name)).load()
    assert isinstance(caught.value.__cause__, LabelTableError)
    assert "jane" not in str(caught.value)


def test_numbers_keep_their_last_digit_and_blanks_are_missing(tmp_path: Path) -> None:
    file = tmp_path / "theirs.csv"
    file.write_bytes(b"\xef\xbb\xbfstudy_key,label,probability\r\n001,,0.30000000000000004\r\nNA,-1,1e-300\r\n")
    table = read_predictions(file, "predictions")
    assert table["probability"].tolist() == [0.30000000000000004, 1e-300]
    assert table["label"].isna().tolist() == [True, False]
    assert table["study_key"].tolist()[0] == "001"
    assert table["study_key"].isna().tolist() == [False, True]


def test_the_message_names_the_parameter(tmp_path: Path) -> None:
    with pytest.raises(LabelTableError, match=r"'validation' is not a file .*--params=validation=PATH"):
        read_predictions(tmp_path / "none.csv", "validation")
