"""Which rows are assessed, and where their recalibration comes from."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from hyperct_pipeline.errors import ConfigError, LabelTableError, LeakageError
from hyperct_pipeline.evaluation.assess_settings import AssessConfig, RecalibrationConfig
from hyperct_pipeline.evaluation.assessed_table import CIRCULAR, Assessed, assessed_table
from hyperct_pipeline.evaluation.recalibration import apply_calibration, fit_calibration

CATALOGUE = {"nodule": "radiological", "effusion": "radiological", "low_lvef": "cardiac"}


def _table(predictions: pd.DataFrame, split: str) -> pd.DataFrame:
    return predictions[predictions["split"] == split].drop(columns=["split", "probability_calibrated"])


def _assessed(predictions: pd.DataFrame, validation: pd.DataFrame | None = None) -> Assessed:
    return assessed_table(predictions, validation, CATALOGUE, AssessConfig(), RecalibrationConfig())


def test_a_validation_table_gives_thresholds_and_recalibration(predictions: pd.DataFrame) -> None:
    found = _assessed(_table(predictions, "test"), _table(predictions, "validation"))
    fitted = found.calibration["tasks"]["nodule"]
    rows = found.rows[found.rows["task"] == "nodule"]
    assert set(rows["threshold_youden"]) == {fitted["threshold_youden"]}
    np.testing.assert_allclose(
        rows["probability_calibrated"], expit(fitted["intercept"] + fitted["slope"] * rows["logit"])
    )
    assert found.facts["recalibration"] == "validation table"
    assert found.facts["validation_split_digest"] == found.calibration["split_digest"]
    assert (found.facts["studies"], found.facts["patients"], found.facts["split"]) == (100, 50, None)
    assert found.facts["tasks_outside_the_catalogue"] == ["dilated"]


def test_without_a_validation_table_its_own_validation_rows_serve(predictions: pd.DataFrame) -> None:
    found = _assessed(predictions)
    same = _assessed(_table(predictions, "test"), _table(predictions, "validation"))
    assert found.facts["recalibration"] == "validation split of the predictions"
    assert found.calibration == same.calibration
    assert len(found.rows) == 400


def test_thresholds_that_the_predictions_carry_are_kept(predictions: pd.DataFrame) -> None:
    found = _assessed(predictions.assign(threshold_youden=0.4))
    assert found.calibration == {}
    assert set(found.rows["threshold_youden"]) == {0.4}
    assert found.facts["recalibration"] == "of the predictions"
    assert _assessed(_table(predictions, "test")).facts["recalibration"] == "none"


@pytest.mark.parametrize("carried", [False, True])
def test_the_split_that_chose_thresholds_is_assessed_without_them(
    predictions: pd.DataFrame, carried: bool, caplog: pytest.LogCaptureFixture
) -> None:
    config = AssessConfig(split="validation")
    table = predictions
    if carried:
        fitted = fit_calibration(predictions[predictions["split"] == "validation"], RecalibrationConfig())
        table = apply_calibration(predictions, fitted)
    found = assessed_table(table, None, CATALOGUE, config, RecalibrationConfig())
    assert found.rows[["probability_calibrated", "threshold_youden", "threshold_target_sensitivity"]].isna().all(None)
    assert found.rows["probability"].notna().all() and len(found.rows) == 240
    assert found.calibration == {}
    assert found.facts["recalibration"] == CIRCULAR
    assert "thresholds and recalibration are left out" in caplog.text
    # thresholds of other patients serve that split, too
    validation = _table(predictions, "test")
    other = assessed_table(table, validation, CATALOGUE, config, RecalibrationConfig())
    assert other.facts["recalibration"] == "validation table"
    assert other.rows.loc[other.rows["task"] == "nodule", "threshold_youden"].notna().all()


def test_the_validation_table_must_be_of_other_patients_and_the_same_model(predictions: pd.DataFrame) -> None:
    test, validation = _table(predictions, "test"), _table(predictions, "validation")
    with pytest.raises(LeakageError, match="validation: column patient_key: 50 patients stand in the predictions too"):
        _assessed(test, test.assign(study_key=test["study_key"] + "x"))
    shared = validation.assign(study_key=validation["study_key"].replace("s000", "s100"))
    with pytest.raises(LeakageError, match="validation: column study_key: 1 studies"):
        _assessed(test, shared)
    with pytest.raises(LabelTableError, match=r"240 rows of model \['m2'\], the predictions are of \['m1'\]"):
        _assessed(test, validation.assign(model_id="m2"))
    with pytest.raises(LabelTableError, match="validation: column split: no row of split 'validation'"):
        _assessed(test, validation.assign(split="test"))
    with pytest.raises(LabelTableError, match="validation of 240 rows are refused: probability is missing"):
        _assessed(test, validation.assign(probability=np.nan))
    with pytest.raises(LabelTableError, match="none of its 4 tasks is assessed"):
        _assessed(test, validation.assign(task=validation["task"] + "_b"))


def test_a_misspelled_task_in_the_configuration_is_refused(predictions: pd.DataFrame) -> None:
    config = AssessConfig(stated_prevalence={"nodul": 0.1})
    with pytest.raises(ConfigError, match=r"assess.stated_prevalence names \['nodul'\]"):
        assessed_table(predictions, None, CATALOGUE, config, RecalibrationConfig())


def test_names_that_would_be_taken_for_something_else_are_refused(predictions: pd.DataFrame) -> None:
    test = _table(predictions, "test")
    with pytest.raises(ConfigError, match="a column probability_hyperct"):
        _assessed(test.assign(probability_hyperct=0.5))
    with pytest.raises(LabelTableError, match=r"\['macro_all'\] are names of means"):
        _assessed(test.assign(task=test["task"].replace("nodule", "macro_all")))
    with pytest.raises(LabelTableError, match="column cohort: 200 rows of a cohort 'all'"):
        _assessed(test.assign(cohort=test["cohort"].replace("internal_test", "all")))


@pytest.mark.parametrize("kind", ["float64", "Float64", "str", "category"])
def test_a_patient_is_the_same_under_another_type(predictions: pd.DataFrame, kind: str) -> None:
    number = predictions["patient_key"].str[1:].astype(int)
    test, validation = _table(predictions.assign(patient_key=number), "test"), _table(predictions, "validation")
    key = pd.Series(float(number[predictions["split"] == "test"].iloc[0]), index=validation.index)
    one = validation["study_key"] == "s000"
    others = number[validation.index].astype(float)
    typed = others.where(~one, key).astype(kind)
    with pytest.raises(LeakageError, match="validation: column patient_key: 1 patients stand in the predictions too"):
        _assessed(test, validation[validation["study_key"] != "s001"].assign(patient_key=typed))


def test_similar_keys_of_both_tables_are_counted(predictions: pd.DataFrame, caplog: pytest.LogCaptureFixture) -> None:
    test, validation = _table(predictions, "test"), _table(predictions, "validation")
    _assessed(test, validation)
    assert "differ from another" not in caplog.text
    _assessed(test, validation.assign(patient_key=validation["patient_key"].replace("p000", "P050")))
    assert "column patient_key: 2 keys differ from another one only by case" in caplog.text


def test_a_cut_off_table_may_be_let_through(predictions: pd.DataFrame) -> None:
    test, validation = (_table(predictions, split) for split in ("test", "validation"))
    for tables in ((test.iloc[:-1], validation), (test, validation.iloc[:-1])):
        with pytest.raises(LabelTableError, match=r"look cut off.*assess\.missing_predictions=exclude"):
            _assessed(*tables)
        config = AssessConfig(missing_predictions="exclude")
        found = assessed_table(*tables, CATALOGUE, config, RecalibrationConfig())
        assert len(found.rows) == len(tables[0])


def test_rows_stand_in_the_order_of_their_keys(predictions: pd.DataFrame) -> None:
    test = _table(predictions, "test").reset_index(drop=True)
    shuffled = test.sample(frac=1.0, random_state=0).reset_index(drop=True)
    one, two = _assessed(test).rows, _assessed(shuffled).rows
    for task in ("nodule", "dilated"):
        first, second = (rows[rows["task"] == task].reset_index(drop=True) for rows in (one, two))
        pd.testing.assert_frame_equal(first, second)
    assert two["study_key"].tolist() == shuffled["study_key"][two.index].tolist()


def test_missing_predictions_are_refused_or_left_out_never_negative(predictions: pd.DataFrame) -> None:
    test = _table(predictions, "test").reset_index(drop=True)
    test.loc[[0, 5], "probability"] = np.nan
    with pytest.raises(LabelTableError, match=r"probability is missing \(2 rows: [0-9, .]+\)"):
        _assessed(test)
    config = AssessConfig(missing_predictions="exclude")
    found = assessed_table(test, None, CATALOGUE, config, RecalibrationConfig())
    assert len(found.rows) == 398
    assert found.facts["rows_without_prediction"] == 2
    assert _assessed(test.dropna(subset="probability")).facts["rows_without_prediction"] == 0


def test_columns_that_nothing_reads_are_told(predictions: pd.DataFrame, caplog: pytest.LogCaptureFixture) -> None:
    table = predictions.assign(prob_rival=0.5, probability_rival=0.5, site="a")
    assessed_table(table, None, {}, AssessConfig(), RecalibrationConfig())
    assert "1 columns are not used: ['prob_rival']" in caplog.text
