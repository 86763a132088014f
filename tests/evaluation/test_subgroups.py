"""Subgroups: the same numbers as a table of the subgroup alone, suppressed where small."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from hyperct_pipeline.evaluation.assess_settings import AssessConfig, SubgroupConfig
from hyperct_pipeline.evaluation.prediction_checks import checked_predictions
from hyperct_pipeline.evaluation.subgroups import levels_of, subgroup_tables

GROUPS = {"nodule": "radiological", "effusion": "radiological", "low_lvef": "cardiac", "dilated": "cardiac"}
CONFIG = AssessConfig(bootstrap_draws=200)


@pytest.fixture
def table(predictions: pd.DataFrame) -> pd.DataFrame:
    number = predictions["study_key"].str[1:].astype(int)
    sex = np.where(number % 3 == 0, "M", "F")
    columns = {"sex": sex, "age_years": 40 + number % 50, "site": "one", "threshold_youden": 0.5}
    return checked_predictions(predictions.assign(**columns))


def test_values_are_those_of_the_subgroup_alone(table: pd.DataFrame) -> None:
    metrics, _ = subgroup_tables(table, GROUPS, CONFIG)
    rows = table[(table["task"] == "nodule") & table["label"].notna() & (table["sex"] == "F")]
    of = metrics[(metrics["subgroup"] == "sex: F") & (metrics["task"] == "nodule")].set_index("metric")
    assert of.loc["auc", "value"] == pytest.approx(roc_auc_score(rows["label"].astype(int), rows["probability"]))
    positive = rows["label"] == 1
    assert of.loc["sensitivity", "value"] == pytest.approx((rows.loc[positive, "probability"] >= 0.5).mean())
    assert of.loc["specificity", "value"] == pytest.approx((rows.loc[~positive, "probability"] < 0.5).mean())
    assert (of["n"] == len(rows)).all()
    assert of.loc["calibration_in_the_large", "ci_low"] < of.loc["calibration_in_the_large", "value"]
    assert set(metrics["subgroup"].str.split(":").str[0]) == {"sex", "age"}  # one site is no subgroup


def test_small_cells_keep_no_value_and_no_count(table: pd.DataFrame) -> None:
    metrics, differences = subgroup_tables(table, GROUPS, CONFIG)
    small = metrics[metrics["task"] == "effusion"]
    assert set(small["status"]) == {"suppressed"}
    assert small[["value", "ci_low", "ci_high", "n", "n_pos", "n_neg", "n_patients", "n_unknown"]].isna().all(axis=None)
    assert set(differences["task"]) == {"nodule"}


def test_a_single_small_cell_cannot_be_had_by_subtraction(predictions: pd.DataFrame) -> None:
    number = predictions["study_key"].str[1:].astype(int)
    site = np.select([number < 8, number < 60, number < 105], ["tiny", "medium", "large"], "largest")
    table = checked_predictions(predictions.assign(site=site, threshold_youden=0.5))
    metrics, differences = subgroup_tables(table, GROUPS, CONFIG)
    of = metrics[(metrics["task"] == "nodule") & (metrics["metric"] == "auc")].set_index("subgroup")
    hidden = of[of["status"] == "suppressed"]
    n = table[table["label"].notna() & (table["task"] == "nodule")].groupby("site").size()
    next_smallest = n.drop("tiny").idxmin()
    assert set(hidden.index) == {"site: tiny", f"site: {next_smallest}"}
    assert hidden[["value", "n", "n_pos", "n_neg", "n_unknown", "n_patients"]].isna().all(axis=None)
    assert of["n"].sum() < n.sum() - n["tiny"]  # what is missing is more than the small cell
    assert not {"tiny", next_smallest} & {*differences["level"], *differences["reference"]}


def test_a_level_without_anybody_hides_no_other(predictions: pd.DataFrame) -> None:
    number = predictions["study_key"].str[1:].astype(int)
    site = np.where(number < 20, "elsewhere", np.where(number % 2, "one", "two"))
    kept = (predictions["task"] == "effusion") | (number >= 20)
    table = checked_predictions(predictions.assign(site=site)[kept])
    metrics, _ = subgroup_tables(table, GROUPS, CONFIG)
    of = metrics[(metrics["task"] == "nodule") & (metrics["metric"] == "auc")].set_index("subgroup")["status"]
    assert of.to_dict() == {"site: one": "ok", "site: two": "ok", "site: elsewhere": "suppressed"}


def test_two_levels_are_hidden_together_and_two_small_cells_hide_no_third(predictions: pd.DataFrame) -> None:
    number = predictions["study_key"].str[1:].astype(int)
    pair = checked_predictions(predictions.assign(sex=np.where(number < 8, "F", "M")))
    metrics, differences = subgroup_tables(pair, GROUPS, CONFIG)
    assert set(metrics["status"]) == {"suppressed"} and differences.empty
    three = checked_predictions(predictions.assign(site=np.select([number < 8, number < 16], ["a", "b"], "c")))
    metrics, _ = subgroup_tables(three, GROUPS, CONFIG)
    of = metrics[(metrics["task"] == "nodule") & (metrics["metric"] == "auc")].set_index("subgroup")["status"]
    assert of.to_dict() == {"site: a": "suppressed", "site: b": "suppressed", "site: c": "ok"}


@pytest.mark.parametrize(
    ("n_unknown", "n_small", "hidden"),
    [
        (0, 0, set()),
        (8, 0, {"medium"}),  # all others less the row of everybody would give the unknown eight
        (8, 8, {"tiny"}),  # the two small ones are told together alone
        (80, 0, set()),  # enough to be seen
        (80, 8, {"tiny"}),
        (0, 8, {"tiny", "medium"}),
    ],
)
def test_studies_of_unknown_level_are_a_cell(
    predictions: pd.DataFrame, n_unknown: int, n_small: int, hidden: set[str]
) -> None:
    number = predictions["study_key"].str[1:].astype(int)
    bounds = [number < n_unknown, number < n_unknown + n_small, number < 80 + (n_unknown + n_small) // 2]
    site = pd.Series(np.select(bounds, ["", "tiny", "medium"], "largest"), index=predictions.index).replace("", None)
    metrics, _ = subgroup_tables(checked_predictions(predictions.assign(site=site)), GROUPS, CONFIG)
    of = metrics[(metrics["task"] == "nodule") & (metrics["metric"] == "auc")].set_index("subgroup")["status"]
    assert set(of[of == "suppressed"].index.str.removeprefix("site: ")) == hidden


def test_differences_are_of_the_largest_level_and_cover_their_value(table: pd.DataFrame) -> None:
    metrics, differences = subgroup_tables(table, GROUPS, CONFIG)
    row = differences[(differences["subgroup"] == "sex") & (differences["metric"] == "auc")].iloc[0]
    value = {
        level: metrics[(metrics["subgroup"] == f"sex: {level}") & (metrics["metric"] == "auc")]
        .set_index("task")
        .loc["nodule", "value"]
        for level in "FM"
    }
    assert (row["level"], row["reference"]) == ("M", "F")
    assert row["difference"] == pytest.approx(value["M"] - value["F"])
    assert row["ci_low"] < row["difference"] < row["ci_high"]
    assert set(differences["metric"]) == {"auc", "sensitivity", "specificity"}


def test_bands_are_closed_below_and_rare_levels_are_other() -> None:
    ages = pd.DataFrame({"age_years": [49.9, 50.0, 64.9, 65.0, 80.0, np.nan]})
    expected = ["< 50", "50 to < 65", "50 to < 65", "65 to < 80", ">= 80", pd.NA]
    assert levels_of(ages, "age_years", SubgroupConfig()).tolist() == expected
    kernels = pd.DataFrame({"study_key": list("abcdef"), "kernel": ["B", "B", "C", "C", "D", None]})
    found = levels_of(kernels, "kernel", SubgroupConfig(max_levels=2)).tolist()
    assert found == ["B", "B", "C", "C", "other", pd.NA]


def test_a_table_without_such_columns_has_no_rows(predictions: pd.DataFrame) -> None:
    metrics, differences = subgroup_tables(checked_predictions(predictions), GROUPS, CONFIG)
    assert metrics.empty and differences.empty
