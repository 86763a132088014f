"""Adapters of the `assess` pipeline: a predictions table in, numbers and figures out."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from hyperct_pipeline.evaluation.assessment import ALL, AssessConfig, metrics_table, part_text, primary_metrics
from hyperct_pipeline.evaluation.net_benefit import decision_cohorts, decision_table
from hyperct_pipeline.evaluation.predictions import checked_predictions, of_split
from hyperct_pipeline.labels.tasks import TaskCatalogueConfig, load_catalogue

if TYPE_CHECKING:
    from matplotlib.figure import Figure
else:
    Figure = Any  # kedro starts without matplotlib


def select_assessed(predictions: pd.DataFrame, config: AssessConfig) -> pd.DataFrame:
    """The checked rows of the split that is assessed."""
    return of_split(checked_predictions(predictions), config.split)


def compute_metrics(
    assessed: pd.DataFrame, task_catalogue: TaskCatalogueConfig, config: AssessConfig
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All metrics by cohort and task, and those of the whole table."""
    catalogue = load_catalogue(task_catalogue)
    full = metrics_table(assessed, {task: catalogue.group_of(task) for task in catalogue.ids}, config)
    return full, primary_metrics(full)


def compute_decision_curves(
    assessed: pd.DataFrame, task_catalogue: TaskCatalogueConfig, config: AssessConfig
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Decision curves by cohort and task, and those of the whole table."""
    catalogue = load_catalogue(task_catalogue)
    full = decision_table(assessed, {task: catalogue.group_of(task) for task in catalogue.ids}, config)
    return full, full[full["cohort"] == ALL].drop(columns="cohort").reset_index(drop=True)


def draw_figures(
    assessed: pd.DataFrame,
    metrics_full: pd.DataFrame,
    decision_curves_full: pd.DataFrame,
    task_catalogue: TaskCatalogueConfig,
    config: AssessConfig,
) -> tuple[Figure, Figure, dict[str, Figure]]:
    """Forest of AUROCs, calibration panels, and one decision curve figure per cohort."""
    from hyperct_pipeline.evaluation import figures

    catalogue = load_catalogue(task_catalogue)
    names = {task: catalogue.name_of(task) for task in catalogue.ids}
    of_group = decision_curves_full[decision_curves_full["group"] == config.decision_group]
    return (
        figures.auroc_figure(metrics_full, names, part_text(assessed, config), config.level_text),
        figures.calibration_figure(assessed, names, config),
        {
            cohort: figures.decision_curve_figure(
                of_group[of_group["cohort"] == cohort], names, f"Decision curves, cohort {cohort}", config.level_text
            )
            for cohort in decision_cohorts(assessed, config)
        },
    )
