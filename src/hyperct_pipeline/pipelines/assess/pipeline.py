"""Predictions -> metrics, decision curves, figures; works on any predictions table."""

from typing import Any

from kedro.pipeline import Pipeline, node, pipeline

from hyperct_pipeline.pipelines.assess import nodes


def create_pipeline(**kwargs: Any) -> Pipeline:
    """Every number of the assessment, then its figures."""
    assessed = {"assessed": "assessed", "task_catalogue": "params:task_catalogue", "config": "params:assess"}
    return pipeline(
        [
            node(
                nodes.select_assessed,
                {"predictions": "predictions", "config": "params:assess"},
                "assessed",
                name="select_assessed",
            ),
            node(nodes.compute_metrics, assessed, ["metrics_full", "metrics"], name="compute_metrics"),
            node(
                nodes.compute_decision_curves,
                assessed,
                ["decision_curves_full", "decision_curves"],
                name="compute_decision_curves",
            ),
            node(
                nodes.draw_figures,
                assessed | {"metrics_full": "metrics_full", "decision_curves_full": "decision_curves_full"},
                ["auroc_figure", "calibration_figure", "decision_curve_figures"],
                name="draw_assessment",
            ),
        ],
        tags="assess",
    )
