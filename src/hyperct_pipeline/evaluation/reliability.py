"""Reliability curves as a table: what share was positive among studies with about the same risk."""

from collections.abc import Mapping

import pandas as pd

from hyperct_pipeline.evaluation.assess_settings import AssessConfig
from hyperct_pipeline.evaluation.task_rows import parts_of
from hyperct_pipeline.metrics.calibration import reliability_curve
from hyperct_pipeline.metrics.operating_point import wilson

COLUMNS = ("cohort", "task", "group", "risk", "bin", "n", "n_pos", "predicted", "observed", "ci_low", "ci_high")


def reliability_table(predictions: pd.DataFrame, groups: Mapping[str, str], config: AssessConfig) -> pd.DataFrame:
    """One row per cohort, task, risk (`as_given` or `recalibrated`) and bin of equal counts.

    predicted is the bin's mean risk, observed its share of positives with Wilson's limits. A task without known labels
    has no rows.
    """
    rows = []
    for part in parts_of(predictions, groups):
        for task, known in part.tasks.items():
            risks = {"as_given": known.probability} | (
                {"recalibrated": known.calibrated} if known.is_recalibrated else {}
            )
            for risk, values in risks.items():
                curve = reliability_curve(known.label, values, config.reliability_bins)
                for at, (n, n_pos) in enumerate(zip(curve.n, curve.n_pos, strict=True)):
                    share = wilson(int(n_pos), int(n), config.confidence_level)
                    assert share is not None  # a bin is never empty
                    place = (part.cohort, task, groups[task], risk, at + 1, int(n), int(n_pos))
                    rows.append((*place, float(curve.predicted[at]), *share))
    return pd.DataFrame(rows, columns=list(COLUMNS))
