"""A predictions table from another system, in either format."""

from pathlib import Path

import pandas as pd
import pytest
from kedro.io import DatasetError

from hyperct_pipeline.datasets import PredictionsTable
from hyperct_pipeline.errors import LabelTableError
from hyperct_pipeline.evaluation.predictions import checked_predictions

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
    dataset = PredictionsTable(str(tmp_path / "ours.parquet"), given=str(file))
    assert dataset.exists()
    read = checked_predictions(dataset.load())
    assert read["study_key"].tolist() == ["007", "008"]
    assert read["label"].tolist() == [1, pd.NA]
    assert read["probability"].tolist() == TABLE["probability"].tolist()


def test_ours_is_written_and_read_where_none_is_given(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.csv"
    TABLE.to_csv(theirs, index=False)
    before = theirs.read_bytes()
    PredictionsTable(str(tmp_path / "ours.parquet"), given=str(theirs)).save(TABLE.assign(probability=0.5))
    assert theirs.read_bytes() == before
    ours = PredictionsTable(str(tmp_path / "ours.parquet")).load()
    assert ours["probability"].tolist() == [0.5, 0.5]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_text_labels_are_refused_in_our_words(tmp_path: Path, ending: str) -> None:
    file, table = tmp_path / f"theirs.{ending}", TABLE.assign(label=["positive", "negative"])
    table.to_csv(file, index=False) if ending == "csv" else table.to_parquet(file)
    with pytest.raises(LabelTableError, match=r"label is not a number \(2 rows\)"):
        checked_predictions(PredictionsTable("ours.parquet", given=str(file)).load())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("jane_doe.parquet", b"no parquet", r"not readable as parquet"),
        ("jane_doe.csv", b"", r"not readable as csv \(EmptyDataError\)"),
        ("jane_doe.csv", b"a\n1,2,3\n1,2,3,4\n", r"not readable as csv \(ParserError\)"),
        ("jane_doe.csv", b"a\n\xff\n", r"not readable as csv \(UnicodeDecodeError\)"),
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
        PredictionsTable("ours.parquet", given=str(tmp_path / name)).load()
    assert isinstance(caught.value.__cause__, LabelTableError)
    assert "jane" not in str(caught.value)
