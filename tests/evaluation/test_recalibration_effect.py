"""What recalibration did, counted from planted metrics."""

import pandas as pd
import pytest

from hyperct_pipeline.evaluation.assess_settings import ALL, AssessConfig
from hyperct_pipeline.evaluation.recalibration_effect import recalibration_effect

CONFIG = AssessConfig()
FITTED = {"n_studies": 51, "n_patients": 49}


def _metrics(rows: list[tuple[str, str, float | None, float | None, float | None]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["task", "metric", "value", "ci_low", "ci_high"])
    table = table.astype({"value": "float64", "ci_low": "float64", "ci_high": "float64"})
    return table.assign(model="hyperct", cohort=ALL, subgroup=ALL)


PLANTED = [
    ("a", "brier", 0.20, 0.1, 0.3),
    ("a", "brier_recalibrated", 0.25, 0.1, 0.3),  # worse
    ("b", "brier", 0.20, 0.1, 0.3),
    ("b", "brier_recalibrated", 0.10, 0.1, 0.3),  # better
    ("c", "brier", 0.20, 0.1, 0.3),
    ("c", "brier_recalibrated", 0.20, 0.1, 0.3),  # the same
    ("d", "brier", 0.20, 0.1, 0.3),  # not recalibrated
    ("e", "brier", 0.20, 0.1, 0.3),
    ("e", "brier_recalibrated", None, None, None),  # undefined
    ("a", "calibration_in_the_large", 0.1, -0.1, 0.3),
    ("a", "calibration_in_the_large_recalibrated", 0.5, 0.1, 0.9),  # off after
    ("b", "calibration_in_the_large", -0.5, -0.9, -0.1),  # off before
    ("b", "calibration_in_the_large_recalibrated", -0.4, -0.9, -0.2),  # off after
    ("c", "calibration_in_the_large", 0.5, 0.1, 0.9),
    ("c", "calibration_in_the_large_recalibrated", 0.5, None, None),  # no interval: counts nowhere
    ("macro_all", "brier", 0.1, 0.1, 0.1),
    ("macro_all", "brier_recalibrated", 0.2, 0.1, 0.3),  # a mean is no task
]


def test_tasks_are_counted_where_both_numbers_are_defined() -> None:
    effect = recalibration_effect(_metrics(PLANTED), CONFIG)
    assert effect is not None
    assert (effect.better, effect.worse, effect.unchanged, effect.n_tasks) == (1, 1, 1, 3)
    assert (effect.off_before, effect.off_after, effect.n_in_the_large) == (1, 2, 2)
    assert effect.sentence(FITTED) == (
        "Recalibration, fitted on 51 validation studies of 49 patients, made the Brier score better in 1 and worse in "
        "1 of 3 tasks and left 1 as they were; intervals of calibration in the large that exclude 0: 1 of 2 tasks "
        "before, 2 after."
    )
    assert effect.sentence({}).startswith("Recalibration made the Brier score")


@pytest.mark.parametrize("rows", [PLANTED[6:7], PLANTED[7:9]])
def test_nothing_is_said_where_nothing_was_recalibrated(
    rows: list[tuple[str, str, float | None, float | None, float | None]],
) -> None:
    assert recalibration_effect(_metrics(rows), CONFIG) is None
