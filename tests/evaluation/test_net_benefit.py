"""The decision curve table."""

import numpy as np
import pandas as pd
import pytest

from hyperct_pipeline.errors import ConfigError
from hyperct_pipeline.evaluation.assess_settings import AssessConfig
from hyperct_pipeline.evaluation.assessment import assess
from hyperct_pipeline.evaluation.net_benefit import decision_cohorts
from hyperct_pipeline.evaluation.task_rows import groups_of

GROUPS = {"nodule": "radiological", "effusion": "radiological", "low_lvef": "cardiac", "dilated": "cardiac"}
CONFIG = AssessConfig(bootstrap_draws=50)


def curves_of(table: pd.DataFrame, groups: dict[str, str], config: AssessConfig) -> pd.DataFrame:
    return assess(table, groups_of(table, groups), config).curves


def test_rows_equal_counts_made_by_hand(assessed: pd.DataFrame) -> None:
    table = curves_of(assessed, GROUPS, CONFIG)
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
    table = curves_of(assessed, GROUPS, CONFIG)
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


def test_without_cohorts_or_prospective_ones_something_is_still_drawn(assessed: pd.DataFrame) -> None:
    assert decision_cohorts(assessed.assign(cohort=None), CONFIG) == ("all",)
    assert decision_cohorts(assessed[assessed["cohort"] == "internal_test"], CONFIG) == ("internal_test",)


def test_a_task_may_have_its_own_range_and_a_stated_prevalence(assessed: pd.DataFrame) -> None:
    config = AssessConfig(
        bootstrap_draws=20, task_thresholds_percent={"nodule": (10, 12)}, stated_prevalence={"nodule": 0.1}
    )
    table = curves_of(assessed, GROUPS, config)
    nodule = table[(table["task"] == "nodule") & (table["cohort"] == "all")]
    assert nodule["threshold"].tolist() == [0.1, 0.11, 0.12]
    known = assessed[(assessed["task"] == "nodule") & assessed["label"].notna()]
    treated, positive = known["probability"] >= 0.1, known["label"] == 1
    sensitivity, false = (treated & positive).sum() / positive.sum(), (treated & ~positive).sum() / (~positive).sum()
    expected = 0.1 * sensitivity - 0.9 * false * 0.1 / 0.9
    assert nodule["net_benefit_stated"].iloc[0] == pytest.approx(expected)
    assert nodule["treat_all_stated"].iloc[0] == pytest.approx(0.1 - 0.9 * 0.1 / 0.9)
    assert table.loc[table["task"] == "effusion", "net_benefit_stated"].isna().all()


def test_models_share_the_chance_of_being_best(assessed: pd.DataFrame) -> None:
    table = curves_of(assessed.assign(probability_copy=assessed["probability"]), GROUPS, CONFIG)
    part = table[(table["task"] == "nodule") & (table["cohort"] == "all")]
    own, copy = (part[part["model"] == model].reset_index(drop=True) for model in ("hyperct", "copy"))
    np.testing.assert_allclose(own["p_best"], copy["p_best"])
    assert ((own["p_best"] + copy["p_best"]) <= 1 + 1e-12).all()
    assert (own["evpi"] >= 0).all()
    assert copy["net_benefit_recalibrated"].isna().all()
