"""Whether recalibration made the assessed risks better or worse, in counts of tasks."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from hyperct_pipeline.evaluation.assess_settings import AssessConfig
from hyperct_pipeline.evaluation.report_metric_tables import task_cells

BRIER, IN_THE_LARGE = "brier", "calibration_in_the_large"


@dataclass(frozen=True)
class RecalibrationEffect:
    """Tasks by what recalibration did to them, over all cohorts; a task counts where both numbers are defined."""

    better: int  # the Brier score fell
    worse: int  # it rose
    unchanged: int
    off_before: int  # the interval of calibration in the large excluded 0
    off_after: int
    n_in_the_large: int  # tasks whose interval is defined before and after

    @property
    def n_tasks(self) -> int:
        """Tasks that were recalibrated and have a Brier score."""
        return self.better + self.worse + self.unchanged

    def sentence(self, applied: Mapping[str, Any]) -> str:
        """The counts in words, with the size of what it was fitted on where that is known.

        Args:
            applied: the calibration, as `recalibration.fit_calibration` made it; {} where the table alone knows.
        """
        fitted = ""
        if "n_studies" in applied:
            fitted = f", fitted on {applied['n_studies']} validation studies of {applied['n_patients']} patients,"
        same = f" and left {self.unchanged} as they were" if self.unchanged else ""
        brier = f"made the Brier score better in {self.better} and worse in {self.worse} of {self.n_tasks} tasks{same}"
        large = (
            f"intervals of calibration in the large that exclude 0: {self.off_before} of {self.n_in_the_large} tasks "
            f"before, {self.off_after} after"
        )
        return f"Recalibration{fitted} {brier}; {large}."


def recalibration_effect(metrics_full: pd.DataFrame, config: AssessConfig) -> RecalibrationEffect | None:
    """What recalibration did to the primary model's risks; None where no task has a Brier score before and after."""
    tasks = task_cells(metrics_full, config).values()
    briers = [pair for of in tasks if (pair := _pair(of, BRIER)) and _defined(pair, "value")]
    larges = [pair for of in tasks if (pair := _pair(of, IN_THE_LARGE)) and _defined(pair, "ci_low", "ci_high")]
    if not briers:
        return None
    changes = [after["value"] - before["value"] for before, after in briers]
    return RecalibrationEffect(
        better=sum(change < 0 for change in changes),
        worse=sum(change > 0 for change in changes),
        unchanged=sum(change == 0 for change in changes),
        off_before=sum(_excludes_zero(before) for before, _ in larges),
        off_after=sum(_excludes_zero(after) for _, after in larges),
        n_in_the_large=len(larges),
    )


Row = Mapping[Hashable, Any]


def _pair(of: Mapping[str, Row], metric: str) -> tuple[Row, Row] | None:
    """Rows of a metric of the risk as given and recalibrated; None where it was not recalibrated."""
    again = of.get(f"{metric}_recalibrated")
    return None if again is None else (of[metric], again)


def _defined(pair: tuple[Row, Row], *columns: str) -> bool:
    return all(pd.notna(row[column]) for row in pair for column in columns)


def _excludes_zero(row: Row) -> bool:
    return bool(row["ci_low"] > 0 or row["ci_high"] < 0)
