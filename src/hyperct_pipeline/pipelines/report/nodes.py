"""Adapter of the `report` pipeline: everything the other pipelines wrote, on one page."""

from typing import Any

import pandas as pd

from hyperct_pipeline.evaluation.assessment import AssessConfig
from hyperct_pipeline.evaluation.report import Evidence, Pictures, ReportConfig, render_report
from hyperct_pipeline.labels.tasks import TaskCatalogueConfig, load_catalogue


def write_report(
    study_index: pd.DataFrame,
    cohort_flow: pd.DataFrame,
    harmonization_report: pd.DataFrame,
    label_prevalence: bytes,
    training_history: dict[str, dict[str, Any]],
    training_curves: bytes,
    calibration: dict[str, dict[str, Any]],
    metrics_full: pd.DataFrame,
    metrics: pd.DataFrame,
    decision_curves: pd.DataFrame,
    auroc_figure: bytes,
    calibration_figure: bytes,
    decision_curve_figures: dict[str, bytes],
    lora_pca: pd.DataFrame,
    lora_pca_figure: bytes,
    saliency_overview: bytes,
    model_card: dict[str, Any],
    task_catalogue: TaskCatalogueConfig,
    config: ReportConfig,
    assess: AssessConfig,
) -> str:
    """The report as HTML, with the history of the latest training alone."""
    from hyperct_pipeline.training.history import current_rows  # brings torch, without which kedro starts

    catalogue = load_catalogue(task_catalogue)
    evidence = Evidence(
        study_index=study_index,
        cohort_flow=cohort_flow,
        harmonization_report=harmonization_report,
        training_history=current_rows(training_history),
        calibration=calibration,
        metrics_full=metrics_full,
        metrics=metrics,
        decision_curves=decision_curves,
        lora_pca=lora_pca,
        model_card=model_card,
    )
    pictures = Pictures(
        label_prevalence=label_prevalence,
        training_curves=training_curves,
        auroc=auroc_figure,
        calibration=calibration_figure,
        decision_curves=decision_curve_figures,
        lora_pca=lora_pca_figure,
        saliency_overview=saliency_overview,
    )
    names = {task: catalogue.name_of(task) for task in catalogue.ids}
    return render_report(evidence, pictures, names, config, assess)
