"""What a table of predictions is refused for, and how one from elsewhere is completed."""

import numpy as np
import pandas as pd
import pytest

from hyperct_pipeline.errors import LabelTableError
from hyperct_pipeline.evaluation.prediction_checks import checked_predictions, without_missing
from hyperct_pipeline.evaluation.prediction_problems import rivals_of
from hyperct_pipeline.evaluation.prediction_splits import of_split


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
    assert checked["cohort"].isna().all()
    assert len(of_split(checked, "test")) == 3
    assert checked["threshold_youden"].isna().all()
    assert "logit" not in foreign


def test_numbers_may_come_as_text_and_limits_are_within() -> None:
    keys = {"study_key": ["1", "2", "3"], "patient_key": ["1", "2", "3"], "task": ["n"] * 3}
    numbers = {"label": ["1", "0", " "], "probability": ["0", "0.25", "1"], "probability_calibrated": [0.0, 1.0, None]}
    checked = checked_predictions(pd.DataFrame(keys | numbers))
    assert checked["label"].tolist() == [1, 0, pd.NA]
    assert checked["probability"].tolist() == [0.0, 0.25, 1.0]
    np.testing.assert_array_equal(checked["probability_calibrated"], [0.0, 1.0, np.nan])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probability": [0.5, 1.5, np.nan]}, r"missing \(1 rows: [0-9, .]+\).*outside \[0, 1\] \(1 rows: [0-9, .]+\)"),
        (
            {"probability_calibrated": [0.5, 1.01, -0.01]},
            r"probability_calibrated is outside \[0, 1\] \(2 rows: [0-9, .]+\)",
        ),
        ({"label": ["yes", "1", ""]}, r"3 rows are refused: label is not a number \(1 rows: [0-9, .]+\)$"),
        ({"probability": ["high", "0.5", "1"]}, r"refused: probability is not a number \(1 rows: [0-9, .]+\)$"),
        (
            {"probability_calibrated": ["0.1", "-", "0.2"]},
            r"refused: probability_calibrated is not a number \(1 rows: [0-9, .]+\)$",
        ),
        ({"threshold_youden": [0.5, 0.5, 0.6]}, r"several values of threshold_youden \(3 rows: [0-9, .]+\)"),
        (
            {"threshold_youden": [37.0] * 3},
            r"threshold_youden is outside \[0, 1\], as percentages would be; divide by 100 \(3 rows: 1, 2, 3\)$",
        ),
        ({"threshold_target_sensitivity": [-0.01] * 3}, r"threshold_target_sensitivity is outside \[0, 1\]"),
        ({"label": [1, 0, 2]}, r"label is not 1, 0 or unknown .* \(1 rows: [0-9, .]+\)"),
        ({"study_key": ["1", "1", "3"]}, r"more than one row \(2 rows: 1, 2\)"),
        ({"patient_key": ["1", None, "3"]}, r"patient_key is missing \(1 rows: [0-9, .]+\)"),
    ],
)
def test_bad_tables_are_refused_with_counts(change: dict[str, list[object]], message: str) -> None:
    good = {"study_key": ["1", "2", "3"], "patient_key": ["1", "2", "3"], "task": ["n"] * 3}
    frame = pd.DataFrame(good | {"label": [1, 0, 0], "probability": [0.1, 0.2, 0.3]} | change)
    with pytest.raises(LabelTableError, match=message):
        checked_predictions(frame)


def test_thresholds_at_the_limits_are_thresholds() -> None:
    for limit in (0.0, 1.0):
        assert set(checked_predictions(_grid().assign(threshold_youden=limit))["threshold_youden"]) == {limit}


def test_recalibrated_risks_are_of_a_whole_task_or_of_none() -> None:
    frame = _grid().assign(split=["validation"] * 9 + ["test"] * 9, probability_calibrated=0.5)
    frame.loc[frame["task"] == "b", "probability_calibrated"] = np.nan  # a task without a calibrator
    frame.loc[:8, "probability_calibrated"] = np.nan  # a split that was not recalibrated
    frame.loc[9, ["label", "probability_calibrated"]] = np.nan  # no label, no number needed
    assert checked_predictions(frame)["probability_calibrated"].notna().sum() == 5
    frame.loc[15, "probability_calibrated"] = np.nan
    message = r"refused: probability_calibrated is missing beside others of its task \(1 rows: [0-9, .]+\)$"
    with pytest.raises(LabelTableError, match=message):
        checked_predictions(frame)
    kept, n = without_missing(frame)
    assert (n, len(kept), 15 in kept.index) == (1, 17, False)
    as_text = frame.assign(
        probability_calibrated=frame["probability_calibrated"].map(lambda v: "" if v != v else str(v))
    )
    assert without_missing(as_text)[0].index.equals(kept.index)


def test_an_absent_column_is_named() -> None:
    with pytest.raises(LabelTableError, match="patient_key"):
        checked_predictions(pd.DataFrame({"study_key": ["1"], "task": ["n"], "label": [1], "probability": [0.1]}))


def _grid(n_studies: int = 6, tasks: tuple[str, ...] = ("a", "b", "c"), by: str = "study_key") -> pd.DataFrame:
    index = pd.MultiIndex.from_product([[f"s{k}" for k in range(n_studies)], tasks], names=["study_key", "task"])
    frame = index.to_frame(index=False).assign(label=[0, 1] * (len(index) // 2), probability=0.5)
    frame["patient_key"] = frame["study_key"].str.replace("s", "p")
    return frame.sort_values(by, kind="stable", ignore_index=True)


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ("study_key", r"the last study has 2 of 3 tasks \(1 rows"),
        ("task", r"the last task has 5 of 6 studies \(1 rows"),
    ],
)
def test_a_table_that_lacks_its_end_is_refused(by: str, message: str) -> None:
    whole = _grid(by=by)
    assert len(checked_predictions(whole)) == 18
    with pytest.raises(LabelTableError, match="look cut off.*" + message):
        checked_predictions(whole.iloc[:-1], "validation")


def test_rows_that_are_missing_elsewhere_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    assert len(checked_predictions(_grid().drop(index=[4, 9]))) == 16
    assert "2 of 18 pairs of study and task have no row" in caplog.text
    assert len(checked_predictions(_grid().iloc[:1])) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patient_key": "q"}, r"a study has several values of patient_key \(3 rows: [0-9, .]+\)"),
        ({"study_key": None}, r"study_key is missing \(1 rows: [0-9]+\)"),
        ({"task": " "}, r"task is missing \(1 rows: [0-9, .]+\)"),
        ({"probability_rival": np.nan}, r"probability_rival is missing \(1 rows: [0-9, .]+\)"),
        ({"probability_rival": -0.1}, r"probability_rival is outside \[0, 1\] \(1 rows: [0-9, .]+\)"),
        ({"probability": np.inf}, r"probability is outside \[0, 1\] \(1 rows: [0-9, .]+\)"),
        ({"model_id": "m2"}, r"model_id names several models \(18 rows: [0-9, .]+\)"),
        ({"cohort": "other"}, r"several values of cohort \(3 rows: [0-9, .]+\)"),
        ({"age_years": "old"}, r"age_years is not a number \(1 rows: [0-9, .]+\)"),
    ],
)
def test_what_one_row_can_spoil(change: dict[str, object], message: str) -> None:
    frame = _grid().assign(probability_rival=0.25, model_id="m1", cohort="c", age_years=50).astype(object)
    for column, value in change.items():
        frame.loc[0, column] = value
    with pytest.raises(LabelTableError, match=message) as caught:
        checked_predictions(frame)
    assert "s0" not in str(caught.value) and "p0" not in str(caught.value)  # keys may identify people


def test_headers_and_keys_lose_their_blanks_and_the_order_of_columns_is_free() -> None:
    frame = _grid().assign(study_key=lambda f: f["study_key"] + " ")[["probability", "label", "task", "study_key"]]
    frame[" patient_key "] = 7
    checked = checked_predictions(frame)
    assert checked["study_key"].iloc[0] == "s0"
    assert set(checked["patient_key"]) == {"7"}
    with pytest.raises(LabelTableError, match=r"columns stand twice: \['label'\]"):
        checked_predictions(_grid().assign(**{" label": 1}))
    with pytest.raises(LabelTableError, match="a header of 5 columns and no rows"):
        checked_predictions(_grid().iloc[:0])


def test_a_logit_that_is_not_of_its_probability_is_replaced() -> None:
    given = checked_predictions(_grid().assign(probability=0.25, logit=[-np.log(3)] * 9 + [5.0] * 8 + [np.nan]))
    np.testing.assert_allclose(given["logit"], -np.log(3))


def test_rivals_are_the_other_probability_columns() -> None:
    frame = _grid().assign(probability_b=0.1, probability_calibrated=0.2, probability_a=0.3)
    assert rivals_of(frame) == ("b", "a")


@pytest.mark.parametrize(
    ("cell", "column", "message"),
    [
        (b"k", "study_key", r"study_key is bytes, a list or the like, no single value \(1 rows: [0-9, .]+\)"),
        ([1], "patient_key", r"patient_key is bytes, a list or the like, no single value \(1 rows: [0-9, .]+\)"),
        (b"0.5", "probability", r"probability is bytes, a list or the like"),
        ([0.5], "probability", r"probability is bytes, a list or the like"),
        (np.array([1]), "site", r"site is bytes, a list or the like"),
        ("a\0b", "task", r"task holds a NUL byte or a lone carriage return \(1 rows: [0-9, .]+\)"),
        ("a\rb", "site", r"site holds a NUL byte or a lone carriage return \(1 rows: [0-9, .]+\)"),
        (True, "probability", r"probability is a truth value, not a number \(1 rows: [0-9, .]+\)"),
        (-2, "age_years", r"age_years is outside 0 to 130 .* \(1 rows: [0-9, .]+\)"),
        (130.5, "age_years", r"age_years is outside 0 to 130 .* \(1 rows: [0-9, .]+\)"),
        (-0.5, "slice_thickness_mm", r"slice_thickness_mm is below 0 .* \(1 rows: [0-9, .]+\)"),
    ],
)
def test_cells_that_mean_nothing_are_refused(cell: object, column: str, message: str) -> None:
    frame = _grid().assign(site="s", age_years=50.0, slice_thickness_mm=1.0).astype(object)
    frame.at[0, column] = cell
    with pytest.raises(LabelTableError, match=message):
        checked_predictions(frame)


def test_minus_one_is_unknown_and_the_limits_are_ages() -> None:
    frame = _grid().assign(age_years=[-1, 0, 130] * 6, slice_thickness_mm=[-1, 0, 5] * 6)
    checked = checked_predictions(frame)
    assert checked["age_years"].tolist()[1:3] == [0.0, 130.0]
    assert checked[["age_years", "slice_thickness_mm"]].isna().sum().tolist() == [6, 6]


def test_truth_values_are_labels_and_no_predictions() -> None:
    assert set(checked_predictions(_grid().assign(label=[True, False] * 9))["label"]) == {1, 0}
    mixed = checked_predictions(_grid().assign(label=[True, None, False] * 6).astype({"label": object}))["label"]
    assert mixed.tolist()[:3] == [1, pd.NA, 0]
    with pytest.raises(LabelTableError, match=r"probability is a truth value, not a number \(18 rows: [0-9, .]+\)"):
        checked_predictions(_grid().assign(probability=True))


def test_a_column_without_a_model_is_refused() -> None:
    with pytest.raises(LabelTableError, match="'probability_' names no model"):
        checked_predictions(_grid().assign(probability_=0.5))


def test_a_row_without_label_and_prediction_counts_as_unknown() -> None:
    frame = _grid().assign(probability_rival=0.5).astype({"label": float})
    frame.loc[[0, 1], "label"] = [np.nan, -1.0]
    frame.loc[[0, 1], ["probability", "probability_rival"]] = np.nan
    checked = checked_predictions(frame)
    assert checked["label"].isna().sum() == 2 and len(checked) == 18
    frame.loc[2, "probability"] = np.nan
    with pytest.raises(LabelTableError, match=r"probability is missing \(1 rows: [0-9, .]+\)$"):
        checked_predictions(frame)


@pytest.mark.parametrize("by", ["study_key", "task"])
def test_a_table_that_lacks_its_end_may_be_let_through(by: str, caplog: pytest.LogCaptureFixture) -> None:
    short = _grid(by=by).iloc[:-1]
    with pytest.raises(LabelTableError, match=r"assess.missing_predictions=exclude"):
        checked_predictions(short)
    assert len(checked_predictions(short, allow_cut_off=True)) == 17
    assert "look cut off" in caplog.text


def test_the_first_rows_of_a_problem_are_named(predictions: pd.DataFrame) -> None:
    broken = predictions.assign(probability=predictions["probability"].mask(predictions.index % 100 == 6, 1.5))
    n = int((predictions.index % 100 == 6).sum())
    with pytest.raises(LabelTableError, match=rf"is outside \[0, 1\] \({n} rows: 7, 107, 207 \.\.\.\)$"):
        checked_predictions(broken)


def test_a_column_of_nearly_the_right_name_is_pointed_out(predictions: pd.DataFrame) -> None:
    renamed = predictions.rename(columns={"study_key": "Study Key"})
    with pytest.raises(LabelTableError, match=r"absent: \['study_key'\].*found \['Study Key'\], which must be renamed"):
        checked_predictions(renamed)
