"""Which studies are explained."""

import numpy as np
import pandas as pd
import pytest

from hyperct_pipeline.errors import ConfigError
from hyperct_pipeline.evaluation.examples import ExplainConfig, choose_examples


def test_positives_with_the_highest_probability_come_first(predictions: pd.DataFrame) -> None:
    examples = choose_examples(predictions, ExplainConfig(n_studies=2))
    of = {task: [e for e in examples if e.task == task] for task in ("nodule", "low_lvef", "dilated")}
    test = predictions[predictions["split"] == "test"]
    positive = test[(test["task"] == "nodule") & (test["label"] == 1).fillna(False)]
    np.testing.assert_array_equal([e.probability for e in of["nodule"]], np.sort(positive["probability"])[::-1][:2])
    assert [e.label_text for e in of["nodule"]] == ["positive", "positive"]
    # without a positive the highest probabilities are shown, and the label says so
    assert [e.label_text for e in of["low_lvef"]] == ["negative", "negative"]
    assert [e.label_text for e in of["dilated"]] == ["unknown", "unknown"]
    assert of["nodule"][0].name == f"{of['nodule'][0].study_key}__nodule"


def test_tasks_can_be_named(predictions: pd.DataFrame) -> None:
    assert [e.task for e in choose_examples(predictions, ExplainConfig(tasks=("effusion",)))] == ["effusion"]
    with pytest.raises(ConfigError, match="nothing"):
        choose_examples(predictions, ExplainConfig(tasks=("nothing",)))
