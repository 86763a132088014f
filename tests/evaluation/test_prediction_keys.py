"""The same key is the same text, whatever wrote it."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from hyperct_pipeline.evaluation.prediction_keys import as_key, warn_of_missing_words, warn_of_similar_keys


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([12, 7]),
        pd.Series([12.0, 7.0]),
        pd.Series([12.0, 7.0], dtype="float32"),
        pd.Series([12.0, 7.0], dtype="Float64"),
        pd.Series([12.0, 7.0]).astype("category"),
        pd.Series([12.0, "7"], dtype=object),
        pd.Series([Decimal("12.0"), np.float32(7)], dtype=object),
        pd.Series([" 12", "7 "]),
        pd.Series(["12.0", "7.00"]),
    ],
)
def test_whole_numbers_are_written_without_decimals(column: pd.Series) -> None:
    assert as_key(column, is_identity=True).tolist() == ["12", "7"]


def test_what_is_no_whole_number_stays() -> None:
    assert as_key(pd.Series([1.5, np.nan, 2.0])).tolist() == ["1.5", pd.NA, "2"]
    assert as_key(pd.Series(["0012", "1.0", "1.20", " "])).tolist() == ["0012", "1.0", "1.20", pd.NA]
    assert as_key(pd.Series(["0012.0", "a1.0", "1.20"]), is_identity=True).tolist() == ["0012", "a1.0", "1.20"]


def test_similar_keys_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    one = pd.DataFrame({"study_key": ["a", "b"], "patient_key": ["12", "TP1"]})
    warn_of_similar_keys(one, one)
    assert not caplog.records
    two = pd.DataFrame({"study_key": ["c", "d"], "patient_key": ["0012", "tp 01"]})
    warn_of_similar_keys(one, two)
    assert [record.message[:26] for record in caplog.records] == ["column patient_key: 4 keys"]
    assert "TP1" not in caplog.text


def test_words_for_missing_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_missing_words(pd.DataFrame({"study_key": ["a", "b"], "patient_key": ["NA", "None"]}), "predictions")
    assert "predictions: column patient_key: 2 rows hold a word such as NA" in caplog.text
