"""The predictions table and what it refuses."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from hyperct_pipeline.errors import LabelTableError, StoreError
from hyperct_pipeline.evaluation.predictions import (
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
