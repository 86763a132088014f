"""The decision curve table."""

import numpy as np
import pandas as pd
import pytest

from hyperct_pipeline.errors import ConfigError
from hyperct_pipeline.evaluation.assessment import AssessConfig
from hyperct_pipeline.evaluation.net_benefit import decision_cohorts, decision_table
from hyperct_pipeline.evaluation.predictions import of_split
from hyperct_pipeline.evaluation.recalibration import apply_calibration, fit_calibration

GROUPS = {"nodule": "radiological", "effusion": "radiological", "low_lvef": "cardiac", "dilated": "cardiac"}
CONFIG = AssessConfig(bootstrap_draws=50)


@pytest.fixture
def assessed(predictions: pd.DataFrame) -> pd.DataFrame:
    return of_split(apply_calibration(predictions, fit_calibration(predictions, 10)), "test")


def test_rows_equal_counts_made_by_hand(assessed: pd.DataFrame) -> None:
    table = decision_table(assessed, GROUPS, CONFIG)
    assert len(table) == 3 * 4 * 76
    known = assessed[(assessed["task"] == "nodule") & assessed["label"].notna()]
    for column, suffix in (("probability", ""), ("probability_calibrated", "_recalibrated")):
        treated = known[known[column] >= 0.3]
        true, false = int((treated["label"] == 1).sum()), int((treated["label"] == 0).sum())
        row = table[(table["cohort"] == "all") & (table["task"] == "nodule") & (table["threshold"] == 0.3)].iloc[0]
        expected = true / len(known) - false / len(known) * 0.3 / 0.7
        assert row["net_benefit" + suffix] == pytest.approx(expected)
        assert row["ci_low" + suffix] <= row["net_benefit" + suffix] <= row["ci_high" + suffix]
    assert row["treat_none"] == 0.0


def test_tasks_without_labels_are_null_and_without_calibrator_have_no_second_curve(assessed: pd.DataFrame) -> None:
    table = decision_table(assessed, GROUPS, CONFIG)
    none = table[table["task"] == "dilated"]
    assert none[["net_benefit", "treat_all", "treat_none", "ci_low", "net_benefit_recalibrated"]].isna().all(None)
    assert set(none["status"]) == {"no_labels"}
    negative = table[(table["task"] == "low_lvef") & (table["cohort"] == "all")]
    assert (negative["net_benefit"] <= 0).all()
    assert negative["standardized_net_benefit"].isna().all()
    assert negative["net_benefit_recalibrated"].isna().all()
    np.testing.assert_allclose(negative["treat_all"], -negative["threshold"] / (1 - negative["threshold"]))


def test_cohorts_with_a_figure(assessed: pd.DataFrame) -> None:
    assert decision_cohorts(assessed, CONFIG) == ("prospective_a",)
    named = AssessConfig(decision_cohorts=("internal_test",))
    assert decision_cohorts(assessed, named) == ("internal_test",)
    with pytest.raises(ConfigError, match=r"nowhere.*internal_test"):
        decision_cohorts(assessed, AssessConfig(decision_cohorts=("nowhere",)))
