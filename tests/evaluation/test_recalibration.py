"""Calibrators come from validation alone."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from hyperct_pipeline.errors import LeakageError
from hyperct_pipeline.evaluation.recalibration import (
    apply_calibration,
    fit_calibration,
    refuse_shared_patients,
    split_digest,
)


def test_methods_follow_the_counts(predictions: pd.DataFrame) -> None:
    fitted = fit_calibration(predictions, min_class_count=10)
    assert {task: of["method"] for task, of in fitted.items()} == {
        "nodule": "platt",
        "effusion": "intercept",
        "low_lvef": None,
        "dilated": None,
    }
    assert fitted["effusion"]["slope"] == 1.0
    assert fitted["effusion"]["status"] == "low_count"
    assert fitted["low_lvef"]["status"] == "one_class"
    assert fitted["low_lvef"]["threshold_youden"] is None
    assert fitted["dilated"] | {"split_digest": ""} == {
        "method": None,
        "slope": None,
        "intercept": None,
        "threshold_youden": None,
        "n": 0,
        "n_pos": 0,
        "n_unknown": 60,
        "status": "no_labels",
        "split_digest": "",
    }
    assert json.loads(json.dumps(fitted)) == fitted


def test_test_labels_change_nothing(predictions: pd.DataFrame) -> None:
    flipped = predictions.copy()
    test = (flipped["split"] == "test") & flipped["label"].notna()
    flipped.loc[test, "label"] = 1 - flipped.loc[test, "label"]
    assert fit_calibration(flipped, 10) == fit_calibration(predictions, 10)


def test_applied_line(predictions: pd.DataFrame) -> None:
    fitted = fit_calibration(predictions, 10)
    table = apply_calibration(predictions, fitted)
    rows = table[table["task"] == "nodule"]
    line = fitted["nodule"]
    np.testing.assert_allclose(
        rows["probability_calibrated"], expit(line["intercept"] + line["slope"] * rows["logit"]), rtol=1e-12
    )
    assert table.loc[table["task"] == "low_lvef", "probability_calibrated"].isna().all()
    assert predictions["probability_calibrated"].isna().all()


def test_shared_patients_are_refused(predictions: pd.DataFrame) -> None:
    leaking = predictions.copy()
    leaking.loc[leaking["study_key"] == "s100", "patient_key"] = "p001"
    with pytest.raises(LeakageError, match=r"1 patients .*\['p001'\]"):
        fit_calibration(leaking, 10)


def test_one_patient_per_split_is_enough_to_check() -> None:
    frame = pd.DataFrame({"split": ["validation", "test", None], "patient_key": ["p1", "p2", "p1"]})
    refuse_shared_patients(frame)
    with pytest.raises(LeakageError, match="1 patients"):
        refuse_shared_patients(frame.assign(patient_key="p1"))


def test_digest_depends_on_members_not_on_order(predictions: pd.DataFrame) -> None:
    assert split_digest(predictions) == split_digest(predictions.iloc[::-1])
    assert split_digest(predictions) != split_digest(predictions[predictions["study_key"] != "s000"])


def test_a_line_that_would_fall_is_flat_and_says_so(predictions: pd.DataFrame) -> None:
    turned = predictions.assign(logit=-predictions["logit"], probability=1.0 - predictions["probability"])
    fitted = fit_calibration(turned, 10)
    assert (fitted["nodule"]["method"], fitted["nodule"]["slope"]) == ("flat", 0.0)
    assert fitted["effusion"]["method"] == "intercept"
    table = apply_calibration(turned, fitted)
    given = table.loc[table["task"] == "nodule", "probability_calibrated"].unique()
    n, n_pos = fitted["nodule"]["n"], fitted["nodule"]["n_pos"]
    # the mean of Platt's targets
    expected = (n_pos * (n_pos + 1) / (n_pos + 2) + (n - n_pos) / (n - n_pos + 2)) / n
    assert given == pytest.approx([expected])


def test_every_row_carries_the_threshold_of_its_task(predictions: pd.DataFrame) -> None:
    fitted = fit_calibration(predictions, 10)
    table = apply_calibration(predictions, fitted)
    for task in ("nodule", "effusion"):
        assert table.loc[table["task"] == task, "threshold_youden"].unique() == [fitted[task]["threshold_youden"]]
    assert table.loc[table["task"] == "low_lvef", "threshold_youden"].isna().all()
