"""Tables and figures of all stages -> one offline HTML file."""

from typing import Any

from kedro.pipeline import Pipeline, node, pipeline

from hyperct_pipeline.evaluation.report_evidence import Assessment, CohortData, ModelEvidence
from hyperct_pipeline.pipelines.assess.pipeline import ASSESSMENT
from hyperct_pipeline.pipelines.report import nodes

COHORT = ("study_index", "cohort_flow", "harmonization_report", "label_prevalence")
MODEL = {
    "card": "model_card",
    "description": "model_description",
    **{name: name for name in ("training_run", "training_history", "training_curves", "task_curves")},
    **{name: name for name in ("lora_pca", "lora_separation", "lora_pca_figure")},
    **{name: name for name in ("saliency_checks", "saliency_overview")},
}
OF_MODEL = ASSESSMENT | {"calibration": "calibration"}  # of the model that the report is of, so it must be there


def create_pipeline(**kwargs: Any) -> Pipeline:
    """Gather what is said of the cohort, of the model and of its numbers; then one page."""
    parts = {"cohort": "report_cohort", "model": "report_model", "assessment": "report_assessment"}
    parameters = {"task_catalogue": "params:task_catalogue", "config": "params:report"}
    return pipeline(
        [
            node(CohortData, {name: name for name in COHORT}, "report_cohort", name="gather_cohort"),
            node(ModelEvidence, MODEL, "report_model", name="gather_model"),
            node(Assessment, OF_MODEL, "report_assessment", name="gather_assessment"),
            node(nodes.write_report, parts | parameters, "report_html", name="write_report"),
        ],
        tags="report",
    )
