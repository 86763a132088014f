"""Adapter of the `report` pipeline: everything the other pipelines wrote, on one page."""

from typing import Any

import pandas as pd

from hyperct_pipeline.evaluation.report import ReportConfig, render_report
from hyperct_pipeline.evaluation.report_evidence import Evidence, Pictures
from hyperct_pipeline.evaluation.run_facts import run_facts
from hyperct_pipeline.labels.tasks import TaskCatalogueConfig, load_catalogue


def write_report(
    study_index: pd.DataFrame,
    cohort_flow: pd.DataFrame,
    harmonization_report: pd.DataFrame,
    label_prevalence: bytes,
    training_history: dict[str, dict[str, Any]],
    training_curves: bytes,
    task_curves: bytes,
    training_run: dict[str, Any] | None,
    calibration: dict[str, Any],
    assessed_calibration: dict[str, Any],
    metrics_full: pd.DataFrame,
    decision_curves: pd.DataFrame,
    assessment_facts: dict[str, Any],
    model_comparison: pd.DataFrame,
    negative_transfer: pd.DataFrame,
    subgroup_differences: pd.DataFrame,
    failure_cases: pd.DataFrame,
    auroc_figure: bytes,
    calibration_figure: bytes,
    decision_curve_figures: dict[str, bytes],
    comparison_figures: dict[str, bytes],
    lora_pca: pd.DataFrame,
    lora_separation: pd.DataFrame,
    lora_pca_figure: bytes,
    saliency_overview: bytes,
    saliency_checks: pd.DataFrame,
    model_card: dict[str, Any],
    model_description: dict[str, Any] | None,
    task_catalogue: TaskCatalogueConfig,
    config: ReportConfig,
) -> str:
    """The report as HTML, with the history of the latest training alone."""
    from hyperct_pipeline.training.history import current_rows  # brings torch, without which kedro starts

    evidence = Evidence(
        study_index=study_index,
        cohort_flow=cohort_flow,
        harmonization_report=harmonization_report,
        training_history=current_rows(training_history),
        calibration=calibration,
        assessed_calibration=assessed_calibration,
        metrics_full=metrics_full,
        decision_curves=decision_curves,
        assessment_facts=assessment_facts,
        model_comparison=model_comparison,
        negative_transfer=negative_transfer,
        subgroup_differences=subgroup_differences,
        failure_cases=failure_cases,
        lora_pca=lora_pca,
        lora_separation=lora_separation,
        saliency_checks=saliency_checks,
        model_card=model_card,
        model_description=model_description,
    )
    pictures = Pictures(
        label_prevalence=label_prevalence,
        training_curves=training_curves,
        task_curves=task_curves,
        auroc=auroc_figure,
        calibration=calibration_figure,
        decision_curves=decision_curve_figures,
        comparison=comparison_figures,
        lora_pca=lora_pca_figure,
        saliency_overview=saliency_overview,
    )
    names = _task_names(evidence, task_catalogue)
    return render_report(evidence, pictures, names, config, run_facts(training_run))


def _task_names(evidence: Evidence, task_catalogue: TaskCatalogueConfig) -> dict[str, str]:
    """Tasks of the catalogue, then those that only the model or the assessed table knows, by their id."""
    catalogue = load_catalogue(task_catalogue)
    known = {task: catalogue.name_of(task) for task in catalogue.ids}
    others = [*evidence.model_card["tasks"], *evidence.assessment_facts["tasks"]]
    return known | {task: task for task in others if task not in known}
