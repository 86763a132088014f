"""A predictions table from another system, in either format."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from kedro.io import DatasetError

from hyperct_pipeline.datasets import PredictionsTable
from hyperct_pipeline.datasets.predictions_table import read_predictions
from hyperct_pipeline.errors import ConfigError, LabelTableError
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
    with pytest.raises(LabelTableError, match=r"label is not a number \(2 rows: [0-9, .]+\)"):
        checked_predictions(PredictionsTable("predictions", given=str(file)).load())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("jane_doe.parquet", b"no parquet", r"not readable as parquet"),
        ("jane_doe.csv", b"", r"'predictions' is empty: there is no header"),
        ("jane_doe.csv", b"a\n1,2,3\n", r"row 1 below the header \(line 2\) has 3 cells, the header has 1"),
        (
            "jane_doe.csv",
            b'a,b\n1,"x\ny"\n\n1\n2,3,4\n5,6\n',
            r"row 2 below the header \(line 5\) has 1 cells, the header has 2; 2 of 4 rows differ.*cut off",
        ),
        ("jane_doe.csv", b"a\n1\n\xff\n", r"not readable as csv \(line 3 is not UTF-8\).*Save it as CSV UTF-8\.$"),
        ("jane_doe.csv", b"PK\x03\x04\xff\x00", r"\(it is a workbook under another name\).*Save it as CSV UTF-8\.$"),
        ("jane_doe.xlsx", b"PK\x03\x04", r"ends in '\.xlsx', not \.csv or \.parquet \(save the sheet as CSV UTF-8\)"),
        ("jane_doe.csv", b'a,b\n1,2\n"3,4\n', r"a quotation mark in the row that begins in line 3 is not closed"),
        ("jane_doe.csv", b"a;b\n1;2\n", r"has one column: its header looks separated by semicolons, expected commas"),
        ("jane_doe.csv", b"a\tb\n1\t2\n", r"has one column: its header looks separated by tabs"),
        ("jane_doe.csv", b"task,task\n1,2\n", r"columns stand twice: \['task'\]"),
        ("jane_doe.csv", b"jane_doe,jane_doe,a,1\n", r"'predictions': 1 columns stand twice$"),
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
    file.write_bytes(b"\xef\xbb\xbfstudy_key,label,probability\r\n001,,0.30000000000000004\r\n,-1,1e-300\r\n")
    table = read_predictions(file, "predictions")
    assert table["probability"].tolist() == [0.30000000000000004, 1e-300]
    assert table["label"].isna().tolist() == [True, False]
    assert table["study_key"].tolist()[0] == "001"
    assert table["study_key"].isna().tolist() == [False, True]


def test_the_message_names_the_parameter(tmp_path: Path) -> None:
    with pytest.raises(LabelTableError, match=r"'validation' is not a file .*--params=validation=PATH"):
        read_predictions(tmp_path / "none.csv", "validation")


WORDS = ["NA", "N/A", "None", "null", "nan", "NaN"]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_words_are_missing_numbers_and_names_like_any_other(tmp_path: Path, ending: str) -> None:
    file, keys = tmp_path / f"theirs.{ending}", [f"s{k}" for k in range(len(WORDS))]
    table = pd.DataFrame({"study_key": keys, "patient_key": keys, "task": "n", "cohort": "", "probability": 0.5})
    table = table.assign(site=WORDS, kernel=WORDS, label=WORDS if ending == "csv" else np.nan)
    table.to_csv(file, index=False) if ending == "csv" else table.to_parquet(file)
    read = checked_predictions(read_predictions(file, "predictions"))
    assert read["site"].tolist() == read["kernel"].tolist() == WORDS
    assert read["label"].isna().all() and read["cohort"].isna().all()


def test_an_open_end_is_marked_for_the_checks(tmp_path: Path) -> None:
    file = tmp_path / "theirs.csv"
    whole = TABLE.to_csv(index=False)
    file.write_text(whole)
    assert len(checked_predictions(read_predictions(file, "predictions"))) == 2
    file.write_text(whole[:-1])
    read = read_predictions(file, "predictions")
    with pytest.raises(LabelTableError, match=r"does not end with a line break.*assess.missing_predictions=exclude"):
        checked_predictions(read)
    assert checked_predictions(read, allow_cut_off=True)["probability"].tolist() == TABLE["probability"].tolist()


def test_truth_values_of_a_csv_are_labels(tmp_path: Path) -> None:
    file = tmp_path / "theirs.csv"
    file.write_text("study_key,patient_key,task,label,probability\n1,1,n,True,0.5\n2,2,n,false,0.5\n3,3,n,,0.5\n")
    assert checked_predictions(read_predictions(file, "predictions"))["label"].tolist() == [1, 0, pd.NA]
    file.write_text("study_key,patient_key,task,label,probability\n1,1,n,1,True\n")
    with pytest.raises(LabelTableError, match=r"probability is not a number \(1 rows: [0-9, .]+\)"):
        checked_predictions(read_predictions(file, "predictions"))


def test_the_index_of_a_parquet_file_is_a_column(tmp_path: Path) -> None:
    TABLE.set_index("study_key").to_parquet(tmp_path / "a.parquet")
    TABLE.set_index(["study_key", "task"]).to_parquet(tmp_path / "b.parquet")
    for file in ("a.parquet", "b.parquet"):
        assert read_predictions(tmp_path / file, "predictions")["study_key"].tolist() == ["007", "008"]


@pytest.mark.parametrize("given", [123, ["a.csv", "b.csv"], 1.5, True, {"a": "b"}])
def test_what_is_no_path_is_refused(given: object) -> None:
    dataset = PredictionsTable("predictions", given=given)
    assert not dataset.exists()
    with pytest.raises(DatasetError, match=r"predictions must be the path of one .csv or .parquet file") as caught:
        dataset.load()
    assert isinstance(caught.value.__cause__, ConfigError)
    assert not PredictionsTable("predictions", given="x" * 5000 + ".csv").exists()
