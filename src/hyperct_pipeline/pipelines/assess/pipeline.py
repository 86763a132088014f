"""Predictions -> metrics, decision curves, comparisons, figures; works on any predictions table."""

from typing import Any

from kedro.pipeline import Pipeline, node, pipeline

from hyperct_pipeline.evaluation.report_evidence import Assessment
from hyperct_pipeline.pipelines.assess import nodes

ASSESSMENT = {
    "facts": "assessment_facts",
    "calibration": "model_calibration",
    "fitted_calibration": "assessed_calibration",
    **{name: name for name in ("metrics_full", "decision_curves", "model_comparison", "negative_transfer")},
    **{name: name for name in ("subgroup_differences", "failure_cases")},
    **{name: name for name in ("auroc_figure", "calibration_figure", "decision_curve_figures", "comparison_figures")},
}


def create_pipeline(**kwargs: Any) -> Pipeline:
    """Every number of the assessment, then its figures, then both on one page."""
    parameters = {"task_catalogue": "params:task_catalogue", "config": "params:assess"}
    assessed = {"assessed": "assessed"} | parameters
    page = {"assessment": "assessment", "task_catalogue": "params:task_catalogue"}
    return pipeline(
        [
            node(
                nodes.select_assessed,
                {"predictions": "predictions@assessed", "validation": "validation_predictions"}
                | parameters
                | {"recalibration": "params:recalibration"},
                ["assessed", "assessed_calibration", "assessment_facts"],
                name="select_assessed",
            ),
            node(
                nodes.compute_metrics,
                assessed,
                ["metrics_full", "metrics", "decision_curves_full", "decision_curves", "subgroup_differences"],
                name="compute_metrics",
            ),
            node(
                nodes.compare_models,
                assessed,
                ["model_comparison", "negative_transfer", "reliability", "failure_cases"],
                name="compare_models",
            ),
            node(
                nodes.draw_figures,
                assessed | {name: name for name in ("metrics_full", "decision_curves_full", "model_comparison")},
                ["auroc_figure", "calibration_figure", "decision_curve_figures", "comparison_figures"],
                name="draw_assessment",
            ),
            node(Assessment, ASSESSMENT, "assessment", name="collect_assessment"),
            node(nodes.write_assessment, page, "assessment_html", name="write_assessment"),
        ],
        tags="assess",
    )
