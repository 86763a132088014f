"""Tables and figures of all stages -> one offline HTML file."""

from typing import Any

from kedro.pipeline import Pipeline, node, pipeline

from hyperct_pipeline.pipelines.report import nodes

INPUTS = (
    "study_index",
    "cohort_flow",
    "harmonization_report",
    "label_prevalence",
    "training_history",
    "training_curves",
    "task_curves",
    "training_run",
    "calibration",
    "assessed_calibration",
    "metrics_full",
    "decision_curves",
    "assessment_facts",
    "model_comparison",
    "negative_transfer",
    "subgroup_differences",
    "failure_cases",
    "auroc_figure",
    "calibration_figure",
    "decision_curve_figures",
    "comparison_figures",
    "lora_pca",
    "lora_separation",
    "lora_pca_figure",
    "saliency_overview",
    "saliency_checks",
    "model_card",
    "model_description",
)


def create_pipeline(**kwargs: Any) -> Pipeline:
    """One node: everything in, one page out."""
    inputs = {name: name for name in INPUTS}
    parameters = {"task_catalogue": "params:task_catalogue", "config": "params:report"}
    return pipeline([node(nodes.write_report, inputs | parameters, "report_html", name="write_report")], tags="report")
