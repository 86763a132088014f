"""The predictions table and what it refuses."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from hyperct_pipeline.errors import LabelTableError, StoreError
from hyperct_pipeline.evaluation.predictions import (
    checked_predictions,
    of_split,
    predictions_table,
    studies_to_score,
)
from hyperct_pipeline.volumes.store import StoredVolume, VolumeStore


def _studies() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "study_key": ["s1", "s2"],
            "patient_key": ["p1", "p2"],
            "cohort": ["a", None],
            "split": ["test", "validation"],
            "nodule": pd.array([1, None], dtype="Int8"),
            "effusion": pd.array([None, 0], dtype="Int8"),
        },
        index=[5, 9],
    )


def test_table_keeps_order_and_unknown_labels() -> None:
    logits = np.array([[0.0, 1.0], [2.0, -3.0]])
    table = predictions_table(_studies(), logits, ["nodule", "effusion"], "m1")
    assert list(table["study_key"]) == ["s1", "s1", "s2", "s2"]
    assert list(table["task"]) == ["nodule", "effusion"] * 2
    assert table["label"].dtype == "Int8"
    assert table["label"].tolist() == [1, pd.NA, pd.NA, 0]
    assert table["probability"].dtype == np.float64
    np.testing.assert_array_equal(table["probability"], expit(logits.ravel()))
    assert table["probability_calibrated"].isna().all()
    assert table["cohort"].isna().tolist() == [False, False, True, True]


def test_new_scans_have_no_labels() -> None:
    table = predictions_table(pd.DataFrame({"study_key": ["s1"]}), np.zeros((1, 2)), ["a", "b"], "m")
    assert table["label"].isna().all()
    assert table["split"].isna().all()


def test_logits_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="expected \\(2, 1\\)"):
        predictions_table(_studies(), np.zeros((2, 2)), ["nodule"], "m")


def test_table_from_elsewhere_is_completed() -> None:
    foreign = pd.DataFrame(
        {
            "study_key": ["1", "2", "3"],
            "patient_key": ["1", "2", "3"],
            "task": "nodule",
            "label": [1.0, -1.0, np.nan],
            "probability": [0.5, 0.25, 1.0],
        }
    )
    checked = checked_predictions(foreign)
    assert checked["label"].tolist() == [1, pd.NA, pd.NA]
    np.testing.assert_allclose(checked["logit"][:2], [0.0, -np.log(3)])
    assert np.isfinite(checked["logit"]).all()
    assert set(checked["cohort"]) == {"all"}
    assert len(of_split(checked, "test")) == 3
    assert checked["threshold_youden"].isna().all()
    assert "logit" not in foreign


def test_numbers_may_come_as_text_and_limits_are_within() -> None:
    keys = {"study_key": ["1", "2", "3"], "patient_key": ["1", "2", "3"], "task": ["n"] * 3}
    numbers = {"label": ["1", "0", " "], "probability": ["0", "0.25", "1"], "probability_calibrated": [0.0, None, 1.0]}
    checked = checked_predictions(pd.DataFrame(keys | numbers))
    assert checked["label"].tolist() == [1, 0, pd.NA]
    assert checked["probability"].tolist() == [0.0, 0.25, 1.0]
    np.testing.assert_array_equal(checked["probability_calibrated"], [0.0, np.nan, 1.0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probability": [0.5, 1.5, np.nan]}, r"outside \[0, 1\] \(1 rows\).*missing \(1 rows\)"),
        ({"probability_calibrated": [0.5, 1.01, -0.01]}, r"probability_calibrated is outside \[0, 1\] \(2 rows\)"),
        ({"label": ["yes", "1", ""]}, r"3 rows are refused: label is not a number \(1 rows\)$"),
        ({"probability": ["high", "0.5", "1"]}, r"refused: probability is not a number \(1 rows\)$"),
        (
            {"probability_calibrated": ["0.1", "-", None]},
            r"refused: probability_calibrated is not a number \(1 rows\)$",
        ),
        ({"threshold_youden": [0.5, 0.5, 0.6]}, r"several values of threshold_youden \(3 rows\)"),
        ({"label": [1, 0, 2]}, r"label is not 1, 0 or unknown .* \(1 rows\)"),
        ({"study_key": ["1", "1", "3"]}, r"more than one row \(2 rows\)"),
        ({"patient_key": ["1", None, "3"]}, r"patient_key is missing \(1 rows\)"),
    ],
)
def test_bad_tables_are_refused_with_counts(change: dict[str, list[object]], message: str) -> None:
    good = {"study_key": ["1", "2", "3"], "patient_key": ["1", "2", "3"], "task": ["n"] * 3}
    frame = pd.DataFrame(good | {"label": [1, 0, 0], "probability": [0.1, 0.2, 0.3]} | change)
    with pytest.raises(LabelTableError, match=message):
        checked_predictions(frame)


def test_an_absent_column_is_named() -> None:
    with pytest.raises(LabelTableError, match="patient_key"):
        checked_predictions(pd.DataFrame({"study_key": ["1"], "task": ["n"], "label": [1], "probability": [0.1]}))


def test_a_split_that_is_not_there_is_refused(predictions: pd.DataFrame) -> None:
    assert set(of_split(predictions, "test")["split"]) == {"test"}
    with pytest.raises(LabelTableError, match=r"'train'.*\['test', 'validation'\]"):
        of_split(predictions, "train")


def test_only_studies_with_a_volume_are_scored(
    tmp_path: Path, stored: StoredVolume, caplog: pytest.LogCaptureFixture
) -> None:
    store = VolumeStore(tmp_path)
    studies = _studies().assign(volume=None)
    store.put("s1", stored)  # of a study that has been refused since
    with pytest.raises(StoreError, match="none of the 2 studies"):
        studies_to_score(studies, store, ("validation", "test"), ["nodule"])
    studies.loc[studies["study_key"] == "s2", "volume"] = "s2"
    with pytest.raises(StoreError, match=r"lacks 1 volumes that the study index names, e\.g\. \['s2'\]"):
        studies_to_score(studies, store, ("validation", "test"), ["nodule"])
    store.put("s2", stored)
    chosen = studies_to_score(studies, store, ("validation", "test"), ["nodule"])
    assert list(chosen["study_key"]) == ["s2"]
    assert "1 studies of split test have no volume" in caplog.text
    with pytest.raises(LabelTableError, match="consolidation"):
        studies_to_score(studies, store, ("test",), ["consolidation"])
