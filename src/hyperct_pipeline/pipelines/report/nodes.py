"""Adapter of the `report` pipeline: everything the other pipelines wrote, on one page."""

from collections.abc import Sequence
from dataclasses import replace

from hyperct_pipeline.evaluation.report import ReportConfig, render_report
from hyperct_pipeline.evaluation.report_evidence import Assessment, CohortData, ModelEvidence
from hyperct_pipeline.evaluation.run_facts import run_facts
from hyperct_pipeline.labels.tasks import TaskCatalogueConfig, load_catalogue


def write_report(
    cohort: CohortData,
    model: ModelEvidence,
    assessment: Assessment,
    task_catalogue: TaskCatalogueConfig,
    config: ReportConfig,
) -> str:
    """The report as HTML, with the history of the latest training alone."""
    from hyperct_pipeline.training.history import current_rows  # brings torch, without which kedro starts

    latest = replace(model, training_history=current_rows(model.training_history))
    names = _task_names([*model.card["tasks"], *assessment.facts["tasks"]], task_catalogue)
    return render_report(cohort, latest, assessment, names, config, run_facts())


def _task_names(others: Sequence[str], task_catalogue: TaskCatalogueConfig) -> dict[str, str]:
    """Tasks of the catalogue, then those that only the model or the assessed table knows, by their id."""
    catalogue = load_catalogue(task_catalogue)
    known = {task: catalogue.name_of(task) for task in catalogue.ids}
    return known | {task: task for task in others if task not in known}
