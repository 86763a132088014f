"""A number of the metrics table as the report shows it: with its limits, or why there is none."""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from hyperct_pipeline.evaluation.report_tables import DASH, with_interval

REASONS = {
    "undefined_no_labels": "no known label",
    "undefined_one_class": "one class only",
    "undefined_no_positives": "no positives",
    "undefined_no_negatives": "no negatives",
    "undefined_no_threshold": "no threshold",
    "undefined_none_called": "nobody called positive",
    "undefined_all_called": "everybody called positive",
    "undefined_no_positives_none_called": "no positives, nobody called positive",
    "undefined_no_tasks": "no task defined",
    "undefined_constant_risk": "one risk for everybody",
    "undefined_separated": "the risk separates the classes",
    "undefined_certain_risks": "risks of exactly 0 or 1",
    "undefined_no_information": "all risks 0 or 1 to rounding",
    "undefined_no_risk": "all risks 0",
}
NOT_RECALIBRATED = f"{DASH} (not recalibrated)"


def metric_cell(row: Mapping[Hashable, Any], digits: int = 2) -> str:
    """Value and limits of a row of the metrics table; where the value is undefined, a dash and the reason."""
    if pd.isna(row["value"]):
        return f"{DASH} ({REASONS[str(row['ci_method'])]})"
    return with_interval(row["value"], row["ci_low"], row["ci_high"], digits)


def plain_cell(row: Mapping[Hashable, Any], digits: int = 2) -> str:
    """The same of a metric that has no limits."""
    return metric_cell(row) if pd.isna(row["value"]) else f"{row['value']:.{digits}f}"
