"""Adapters of the `assess` pipeline: a predictions table in, numbers and figures out."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pandas as pd

from hyperct_pipeline.evaluation.assess_settings import ALL, AssessConfig, RecalibrationConfig
from hyperct_pipeline.evaluation.assessed_table import assessed_table
from hyperct_pipeline.evaluation.assessment import assess, part_text, primary_metrics
from hyperct_pipeline.evaluation.assessment_page import render_assessment
from hyperct_pipeline.evaluation.failure_cases import failure_cases
from hyperct_pipeline.evaluation.file_names import file_names
from hyperct_pipeline.evaluation.model_comparison import comparison_table, transfer_table
from hyperct_pipeline.evaluation.net_benefit import decision_cohorts, drawn_tasks
from hyperct_pipeline.evaluation.reliability import reliability_table
from hyperct_pipeline.evaluation.report_evidence import Assessment
from hyperct_pipeline.evaluation.run_facts import SOFTWARE_OF_NUMBERS, run_facts
from hyperct_pipeline.evaluation.subgroups import subgroup_tables
from hyperct_pipeline.evaluation.task_rows import groups_of, part_of
from hyperct_pipeline.labels.tasks import TaskCatalogueConfig, load_catalogue

if TYPE_CHECKING:
    from matplotlib.figure import Figure
else:
    Figure = Any  # kedro starts without matplotlib


def select_assessed(
    predictions: pd.DataFrame,
    validation: pd.DataFrame | None,
    task_catalogue: TaskCatalogueConfig,
    config: AssessConfig,
    recalibration: RecalibrationConfig,
) -> tuple[pd.DataFrame, dict[str, Any], dict[str, Any]]:
    """The checked rows of the split that is assessed, their calibration, and facts of both."""
    return assessed_table(predictions, validation, _catalogue_groups(task_catalogue), config, recalibration)


def compute_metrics(
    assessed: pd.DataFrame, task_catalogue: TaskCatalogueConfig, config: AssessConfig
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """All metrics and decision curves, those of the primary model over the whole table, and subgroup differences."""
    groups = groups_of(assessed, _catalogue_groups(task_catalogue))
    metrics, curves = assess(assessed, groups, config)
    of_subgroups, differences = subgroup_tables(assessed, groups, config)
    primary = primary_metrics(metrics, config.model)
    whole = curves[(curves["cohort"] == ALL) & (curves["model"] == config.model)].drop(columns=["cohort", "model"])
    # rows of subgroups have no note; an empty frame has no columns to give
    full = pd.concat([metrics, of_subgroups], ignore_index=True) if len(of_subgroups) else metrics
    return full, primary, curves, whole.reset_index(drop=True), differences


def compare_models(
    assessed: pd.DataFrame, task_catalogue: TaskCatalogueConfig, config: AssessConfig
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Paired comparison with each rival, negative transfer, reliability curves, and the surest errors."""
    groups = groups_of(assessed, _catalogue_groups(task_catalogue))
    whole = part_of(assessed, ALL, list(groups))
    comparison, transfer = comparison_table(whole, groups, config), transfer_table(whole, groups, config)
    return comparison, transfer, reliability_table(assessed, groups, config), failure_cases(assessed, groups)


def draw_figures(
    assessed: pd.DataFrame,
    metrics_full: pd.DataFrame,
    decision_curves_full: pd.DataFrame,
    model_comparison: pd.DataFrame,
    task_catalogue: TaskCatalogueConfig,
    config: AssessConfig,
) -> tuple[Figure, Figure, dict[str, Figure], dict[str, Figure]]:
    """Forest of AUROCs, calibration panels, decision curves of each cohort, and a forest of each comparison."""
    import matplotlib

    from hyperct_pipeline.evaluation import comparison_figure, decision_figures, figures

    groups = groups_of(assessed, _catalogue_groups(task_catalogue))
    names = task_names(groups, task_catalogue)
    part = part_text(assessed, config)
    curves = decision_curves_full[decision_curves_full["model"] == config.model]
    # names from a table are text: a dollar sign in them starts no formula
    with matplotlib.rc_context({"text.parse_math": False}):
        decisions = {
            cohort: decision_figures.decision_curve_figure(
                drawn_tasks(curves[curves["cohort"] == cohort], config.decision_group),
                names,
                f"Decision curves, cohort {cohort}, {part}",
                config.level_text,
            )
            for cohort in decision_cohorts(assessed, config)
        }
        comparisons = {
            str(rival): comparison_figure.comparison_figure(rows, names, config.level_text)
            for rival, rows in model_comparison.groupby("rival", sort=False)
        }
        return (
            figures.auroc_figure(metrics_full, names, part, config),
            figures.calibration_figure(assessed, names, config),
            {file: decisions[name] for name, file in file_names(decisions).items()},
            {file: comparisons[name] for name, file in file_names(comparisons).items()},
        )


def write_assessment(assessment: Assessment, task_catalogue: TaskCatalogueConfig) -> str:
    """All of the assessment as one HTML page."""
    names = task_names(assessment.facts["tasks"], task_catalogue)
    return render_assessment(assessment, names, run_facts(SOFTWARE_OF_NUMBERS))


def task_names(groups: Iterable[str], task_catalogue: TaskCatalogueConfig) -> dict[str, str]:
    """Task -> display name; a task outside the catalogue is shown by its id."""
    catalogue = load_catalogue(task_catalogue)
    return {task: catalogue.name_of(task) if task in catalogue.ids else task for task in groups}


def _catalogue_groups(task_catalogue: TaskCatalogueConfig) -> dict[str, str]:
    catalogue = load_catalogue(task_catalogue)
    return {task: catalogue.group_of(task) for task in catalogue.ids}
