"""New scans: none is dropped, and the reason of each stays."""

import pandas as pd
import pytest

from hyperct_pipeline.errors import ArchiveError, ConfigError
from hyperct_pipeline.evaluation.new_scans import InferConfig, examples_of_new_scans, new_scans

MANIFEST = pd.DataFrame({"study_key": ["c", "a", "b"], "reason_codes": ["", "MISSING_SLICE", ""]})
PREPARED = pd.DataFrame({"study_key": ["b", "c"], "volume": [None, "c"], "reason_codes": ["QUALITY_REJECT", ""]})


def test_every_study_keeps_a_row_with_its_reason() -> None:
    scans = new_scans(MANIFEST, PREPARED)
    assert scans["study_key"].tolist() == ["a", "b", "c"]
    assert scans["reason_codes"].tolist() == ["MISSING_SLICE", "QUALITY_REJECT", ""]
    assert scans["volume"].notna().tolist() == [False, False, True]


def test_nothing_to_score_is_an_error_with_counts() -> None:
    with pytest.raises(ArchiveError, match=r"None of the 2 studies.*'MISSING_SLICE': 1"):
        new_scans(MANIFEST[1:], PREPARED[:1])


PREDICTIONS = pd.DataFrame(
    {
        "study_key": ["b", "b", "a", "a", "z"],
        "task": ["t", "u", "t", "u", None],
        "probability": [0.1, 0.2, 0.3, 0.4, None],
    }
)


def test_maps_are_limited_to_the_first_scans_and_named_tasks() -> None:
    chosen = examples_of_new_scans(PREDICTIONS, InferConfig(max_saliency_studies=1, saliency_tasks=("u",)))
    assert [(e.study_key, e.task, e.label, e.probability) for e in chosen] == [("a", "u", None, 0.4)]
    assert len(examples_of_new_scans(PREDICTIONS, InferConfig())) == 4


def test_a_task_the_model_does_not_have_is_an_error() -> None:
    with pytest.raises(ConfigError, match="'x'"):
        examples_of_new_scans(PREDICTIONS, InferConfig(saliency_tasks=("x",)))
