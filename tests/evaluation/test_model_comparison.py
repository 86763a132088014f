"""Families of tests over tasks, and negative transfer."""

import numpy as np
import pandas as pd
import pytest

from hyperct_pipeline.errors import ConfigError
from hyperct_pipeline.evaluation.assess_settings import ALL, AssessConfig
from hyperct_pipeline.evaluation.model_comparison import comparison_table, transfer_table
from hyperct_pipeline.evaluation.prediction_checks import checked_predictions
from hyperct_pipeline.evaluation.task_rows import Part, part_of
from hyperct_pipeline.metrics.comparison import auroc_difference, benjamini_hochberg, holm

GROUPS = {"nodule": "radiological", "effusion": "radiological", "low_lvef": "cardiac", "dilated": "cardiac"}
CONFIG = AssessConfig(single_task_model="single")


@pytest.fixture
def whole(predictions: pd.DataFrame) -> Part:
    rng = np.random.default_rng(1)
    noise = rng.random(len(predictions))
    rivals = {"probability_single": predictions["probability"], "probability_noise": noise}
    return part_of(checked_predictions(predictions.assign(**rivals)), ALL, list(GROUPS))


def test_every_rival_and_task_has_a_row_and_undefined_tests_leave_the_family(whole: Part) -> None:
    table = comparison_table(whole, GROUPS, CONFIG)
    assert len(table) == 8
    noise = table[table["rival"] == "noise"].set_index("task")
    known = whole.tasks["nodule"]
    expected = auroc_difference(known.label, known.probability, known.rivals["noise"], known.patient)
    assert expected is not None
    np.testing.assert_allclose(noise.loc["nodule", ["delta_auc", "p"]].astype(float), [expected.value, expected.p])
    assert noise.loc[["low_lvef", "dilated"], ["delta_auc", "p", "p_holm", "p_bh"]].isna().all(axis=None)
    assert noise.loc["low_lvef", "status"] == "one_class"
    # the model against itself: no difference and nothing to test
    assert table.loc[table["rival"] == "single", "p"].isna().all()
    family = table["p"].dropna().to_numpy()
    assert len(family) == 2
    np.testing.assert_allclose(table.loc[table["p"].notna(), "p_holm"], holm(family))
    np.testing.assert_allclose(table.loc[table["p"].notna(), "p_bh"], benjamini_hochberg(family))


def test_the_families_are_those_configured(whole: Part) -> None:
    table = comparison_table(whole, GROUPS, AssessConfig(claim_tasks=("nodule",), exploration_tasks=("effusion",)))
    claimed, explored = table[table["p_holm"].notna()], table[table["p_bh"].notna()]
    assert claimed["task"].tolist() == ["nodule"]
    assert claimed["p_holm"].iloc[0] == claimed["p"].iloc[0]
    assert explored["task"].tolist() == ["effusion"]
    assert explored["p_bh"].iloc[0] == explored["p"].iloc[0]
    assert table.loc[table["in_claims"], "task"].unique().tolist() == ["nodule"]
    for key in ("claim_tasks", "exploration_tasks"):
        with pytest.raises(ConfigError, match=rf"assess\.{key} names \['snoring'\]"):
            comparison_table(whole, GROUPS, AssessConfig(**{key: ("snoring",)}))


def test_transfer_is_named_by_its_sign_where_it_is_shown(whole: Part) -> None:
    table = transfer_table(whole, GROUPS, CONFIG)
    assert set(table["model"]) == {"hyperct", "noise"}
    by = table.set_index(["model", "task"])
    assert by.loc[("hyperct", "nodule"), "transfer"] == "undefined"
    row = by.loc[("noise", "nodule")]
    assert row["delta_auc"] == pytest.approx(row["auc"] - row["auc_single_task"])
    assert row["delta_auc"] < 0
    assert row["transfer"] == ("negative" if row["p_holm"] < 0.05 else "not shown")
    sure = transfer_table(whole, GROUPS, AssessConfig(single_task_model="single", confidence_level=0.01))
    assert sure.set_index(["model", "task"]).loc[("noise", "nodule"), "transfer"] == "negative"
    assert by.loc[("noise", "dilated"), "transfer"] == "undefined"


def test_one_model_alone_has_nothing_to_compare(predictions: pd.DataFrame) -> None:
    alone = part_of(checked_predictions(predictions), ALL, list(GROUPS))
    assert comparison_table(alone, GROUPS, CONFIG).empty
    assert transfer_table(alone, GROUPS, CONFIG).empty
