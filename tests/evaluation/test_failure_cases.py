"""The surest errors, and the bins of the reliability table."""

import pandas as pd
import pytest

from hyperct_pipeline.evaluation.assess_settings import AssessConfig
from hyperct_pipeline.evaluation.failure_cases import failure_cases
from hyperct_pipeline.evaluation.prediction_checks import checked_predictions
from hyperct_pipeline.evaluation.reliability import reliability_table

OURS = "abcdefghij234567abcd"


def _table() -> pd.DataFrame:
    frame = pd.DataFrame({"study_key": ["MRN-1", OURS, "MRN-3", "MRN-4", "MRN-5"], "task": "nodule"})
    frame["patient_key"] = frame["study_key"]
    return checked_predictions(frame.assign(label=[0, 0, 1, 1, None], probability=[0.2, 0.9, 0.1, 0.8, 0.99]))


def test_surest_errors_come_first_and_foreign_keys_are_not_repeated() -> None:
    table = _table().assign(threshold_youden=0.15)
    cases = failure_cases(table, {"nodule": "radiological"}, n_per_kind=2)
    assert cases["probability"].tolist() == [0.9, 0.2, 0.1]
    assert cases["row"].tolist() == [2, 1, 3]
    assert cases["error"].tolist() == ["false positive"] * 2 + ["false negative"]
    assert cases["n_errors"].tolist() == [2, 2, 1]
    assert cases["study_key"].tolist() == [OURS, pd.NA, pd.NA]
    assert len(failure_cases(table, {"nodule": "radiological"}, n_per_kind=1)) == 2


def test_a_right_call_is_no_failure() -> None:
    # without a threshold of validation 0.5 divides: 0.2 and 0.8 are right
    assert failure_cases(_table(), {"nodule": "radiological"})["probability"].tolist() == [0.9, 0.1]
    right = _table().assign(probability=[0.1, 0.2, 0.8, 0.9, 0.99])
    assert failure_cases(right, {"nodule": "radiological"}).empty


def test_reliability_bins_hold_all_studies() -> None:
    table = reliability_table(_table(), {"nodule": "radiological"}, AssessConfig(reliability_bins=2))
    assert table["n"].tolist() == [2, 2]
    assert table["predicted"].tolist() == pytest.approx([0.15, 0.85])
    assert table["observed"].tolist() == [0.5, 0.5]
    assert (table["ci_low"] < 0.5).all() and (table["ci_high"] > 0.5).all()
    assert set(table["risk"]) == {"as_given"}
