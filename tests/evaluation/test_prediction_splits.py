"""One split is taken, and nothing leaves without a word."""

import pandas as pd
import pytest

from hyperct_pipeline.errors import LabelTableError, LeakageError
from hyperct_pipeline.evaluation.prediction_splits import of_split


def _table(splits: list[str | None]) -> pd.DataFrame:
    keys = [f"p{k}" for k in range(len(splits))]
    return pd.DataFrame({"patient_key": keys, "split": pd.array(splits, dtype="string")})


def test_one_split_is_taken_and_patients_keep_to_it(caplog: pytest.LogCaptureFixture) -> None:
    frame = _table(["test"] * 3 + ["train"] * 2 + ["validation"])
    with caplog.at_level("INFO"):
        assert of_split(frame, "test").index.tolist() == [0, 1, 2]
        of_split(_table(["test", "external"]), "test")
    usual, strange = caplog.records
    assert (usual.levelname, strange.levelname) == ("INFO", "WARNING")
    assert "3 rows of other splits than test are left out: {'train': 2, 'validation': 1}" in usual.message
    assert "1 rows of other splits than test are left out: {'external': 1}" in strange.message
    with pytest.raises(LeakageError, match="1 patients stand in more than one split"):
        of_split(frame.assign(patient_key="same"), "test")


def test_a_table_without_splits_is_taken_whole() -> None:
    assert len(of_split(_table([None, None]), "test")) == 2


def test_an_absent_split_says_the_way_out() -> None:
    with pytest.raises(LabelTableError, match=r"{'external': 2}.*--params=assess.split=external"):
        of_split(_table(["external", "external"]), "test")
    assert len(of_split(_table(["external", "external"]), "external")) == 2
    with pytest.raises(LabelTableError, match=r"'validation': 2.*--params=assess.split=external"):
        of_split(_table(["validation", "validation", "external"]), "test")
    with pytest.raises(LabelTableError, match="None of these is held out from development") as refused:
        of_split(_table(["train", "validation"]), "test")
    assert "assess.split" not in str(refused.value)


def test_rows_without_a_split_beside_others_are_refused() -> None:
    with pytest.raises(LabelTableError, match="predictions: column split: 1 of 3 rows name no split"):
        of_split(_table(["test", None, "test"]), "test")


@pytest.mark.parametrize("splits", [["test", "Test", "TEST"], ["Test"] * 3, ["external", "External", "test"]])
def test_another_spelling_is_refused(splits: list[str | None]) -> None:
    with pytest.raises(LabelTableError, match=r"column split: .* rows are of splits that differ only in case from"):
        of_split(_table(splits), "test")
