"""Calibrators come from validation alone."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from hyperct_pipeline.errors import LabelTableError, LeakageError
from hyperct_pipeline.evaluation.assess_settings import RecalibrationConfig
from hyperct_pipeline.evaluation.recalibration import (
    apply_calibration,
    fit_calibration,
    refuse_shared_patients,
    split_digest,
)
from hyperct_pipeline.metrics.calibration import to_logit
from hyperct_pipeline.metrics.discrimination import target_sensitivity_threshold


def _fit(predictions: pd.DataFrame, **settings: object) -> dict:
    return fit_calibration(predictions[predictions["split"] == "validation"], RecalibrationConfig(**settings))


def test_methods_follow_the_counts(predictions: pd.DataFrame) -> None:
    whole = _fit(predictions)
    fitted = whole["tasks"]
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
    assert fitted["dilated"] == {
        "method": None,
        "slope": None,
        "intercept": None,
        "knots": None,
        "threshold_youden": None,
        "threshold_target_sensitivity": None,
        "n": 0,
        "n_pos": 0,
        "n_unknown": 60,
        "status": "no_labels",
    }
    assert json.loads(json.dumps(whole, allow_nan=False)) == whole
    validation = predictions[predictions["split"] == "validation"]
    assert (whole["model_id"], whole["split_digest"]) == ("m1", split_digest(validation))
    assert (whole["n_studies"], whole["n_patients"]) == (60, 30)


def test_test_labels_change_nothing(predictions: pd.DataFrame) -> None:
    flipped = predictions.copy()
    test = (flipped["split"] == "test") & flipped["label"].notna()
    flipped.loc[test, "label"] = 1 - flipped.loc[test, "label"]
    assert _fit(flipped) == _fit(predictions)


def test_applied_line(predictions: pd.DataFrame) -> None:
    fitted = _fit(predictions)
    table = apply_calibration(predictions, fitted)
    rows = table[table["task"] == "nodule"]
    line = fitted["tasks"]["nodule"]
    np.testing.assert_allclose(
        rows["probability_calibrated"], expit(line["intercept"] + line["slope"] * rows["logit"]), rtol=1e-12
    )
    assert table.loc[table["task"] == "low_lvef", "probability_calibrated"].isna().all()
    assert predictions["probability_calibrated"].isna().all()


def test_shared_patients_are_refused(predictions: pd.DataFrame) -> None:
    leaking = predictions.copy()
    leaking.loc[leaking["study_key"] == "s100", "patient_key"] = "p001"
    with pytest.raises(LeakageError, match=r"1 patients .*\['p001'\]"):
        refuse_shared_patients(leaking)


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
    whole = _fit(turned)
    fitted = whole["tasks"]
    assert (fitted["nodule"]["method"], fitted["nodule"]["slope"]) == ("flat", 0.0)
    assert fitted["effusion"]["method"] == "intercept"
    table = apply_calibration(turned, whole)
    given = table.loc[table["task"] == "nodule", "probability_calibrated"].unique()
    n, n_pos = fitted["nodule"]["n"], fitted["nodule"]["n_pos"]
    # the mean of Platt's targets
    expected = (n_pos * (n_pos + 1) / (n_pos + 2) + (n - n_pos) / (n - n_pos + 2)) / n
    assert given == pytest.approx([expected])


def test_every_row_carries_the_threshold_of_its_task(predictions: pd.DataFrame) -> None:
    fitted = _fit(predictions)
    table = apply_calibration(predictions, fitted)
    for task in ("nodule", "effusion"):
        assert table.loc[table["task"] == task, "threshold_youden"].unique() == [
            fitted["tasks"][task]["threshold_youden"]
        ]
    assert table.loc[table["task"] == "low_lvef", "threshold_youden"].isna().all()


def test_the_second_threshold_reaches_its_sensitivity_on_validation(predictions: pd.DataFrame) -> None:
    fitted = _fit(predictions, target_sensitivity=0.8)["tasks"]["nodule"]
    rows = predictions[(predictions["split"] == "validation") & (predictions["task"] == "nodule")].dropna(
        subset="label"
    )
    threshold = fitted["threshold_target_sensitivity"]
    assert threshold == target_sensitivity_threshold(rows["label"], rows["probability"], 0.8)
    assert (rows.loc[rows["label"] == 1, "probability"] >= threshold).mean() >= 0.8


def test_isotonic_needs_a_large_validation_set(predictions: pd.DataFrame, caplog: pytest.LogCaptureFixture) -> None:
    small = _fit(predictions, method="isotonic")["tasks"]["nodule"]
    assert "needs 200 validation studies of each class" in caplog.text
    assert "4 of 4 tasks have fewer" in caplog.text
    assert small["method"] == "platt"
    whole = _fit(predictions, method="isotonic", isotonic_min_class_count=15)
    fitted = whole["tasks"]["nodule"]
    assert fitted["method"] == "isotonic"
    assert whole["tasks"]["effusion"]["method"] == "intercept"
    table = apply_calibration(predictions, json.loads(json.dumps(whole)))
    validation = table[(table["split"] == "validation") & (table["task"] == "nodule")].dropna(subset="label")
    from sklearn.isotonic import IsotonicRegression

    expected = IsotonicRegression(y_min=0, y_max=1).fit_transform(
        validation["logit"], validation["label"].astype(float)
    )
    np.testing.assert_allclose(validation["probability_calibrated"], expected, atol=1e-12)
    ordered = table[table["task"] == "nodule"].sort_values("logit")
    assert ordered["probability_calibrated"].is_monotonic_increasing


def test_the_calibration_of_another_model_is_refused(predictions: pd.DataFrame) -> None:
    with pytest.raises(LabelTableError, match=r"calibration is of model m1, the predictions are of \['m2'\]"):
        apply_calibration(predictions.assign(model_id="m2"), _fit(predictions))


def test_one_risk_of_zero_among_narrow_ones_does_not_stop_the_fit() -> None:
    # a scan that failed and was given 0: its logit lies far outside, and the slope of the others is steep
    rng = np.random.default_rng(1)
    logits = rng.normal(0.0, 0.04, 600)
    label = (rng.random(600) < expit(40.0 * logits)).astype(int)
    probability = expit(logits)
    probability[0], label[0] = 0.0, 0
    keys = [f"s{k}" for k in range(600)]
    table = pd.DataFrame({"study_key": keys, "patient_key": keys, "task": "t", "label": label})
    table = table.assign(probability=probability, logit=to_logit(probability), model_id=None)
    fitted = fit_calibration(table, RecalibrationConfig())["tasks"]["t"]
    assert fitted["method"] == "platt"
    assert fitted["slope"] == pytest.approx(37.48, abs=0.01)  # by Newton steps of any length
