"""One HTML file with everything a reader needs to judge the model; it loads nothing from anywhere.

Text and layout live in `templates/report.html.j2`; this module turns tables and figures into what it shows.
"""

from collections.abc import Mapping

import pandas as pd
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from hyperct_pipeline.evaluation import report_data_tables as data_tables
from hyperct_pipeline.evaluation import report_explanation_tables as explanation_tables
from hyperct_pipeline.evaluation.assessment_contents import assessment_contents
from hyperct_pipeline.evaluation.page_templates import page_frame, rendered
from hyperct_pipeline.evaluation.report_evidence import Assessment, CohortData, ModelEvidence, models_of
from hyperct_pipeline.evaluation.report_limitations import report_limitations
from hyperct_pipeline.evaluation.report_references import OF_REPORT
from hyperct_pipeline.evaluation.report_tables import Table
from hyperct_pipeline.evaluation.reporting_checklist import checklist_table
from hyperct_pipeline.evaluation.run_facts import RunFacts, notices_of, refuse_mixed_models

SECTIONS = {
    "summary": "Summary",
    "data": "Data",
    "methods": "Methods",
    "training": "Training",
    "discrimination": "Discrimination",
    "calibration": "Calibration",
    "decisions": "Decision curves",
    "comparison": "Other models",
    "subgroups": "Subgroups",
    "failures": "Failure cases",
    "adapters": "What the adapters share",
    "saliency": "Saliency",
    "card": "Model card",
    "checklist": "Reporting checklist",
    "limitations": "Limitations",
    "references": "References",
}
HARDLY_DIFFERENT = 0.8  # median rank correlation with the map of another task


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ReportConfig:
    """What only people know about this run."""

    title: str = "HyperCT: evaluation report"
    data_description: str = ""  # one or two sentences: which patients, which scans, from where
    limitations: tuple[str, ...] = ()  # added to those the software can state


def render_report(
    cohort: CohortData,
    model: ModelEvidence,
    assessment: Assessment,
    names: Mapping[str, str],
    config: ReportConfig,
    facts: RunFacts,
) -> str:
    """The report as one HTML document; every text from data is escaped.

    Args:
        cohort, model, assessment: what it shows.
        names: task -> display name, of the model's and of the assessed tasks, in the order of the tables.
        config: what only people know.
        facts: when and with what the report is made.

    Raises:
        PackageError: the parts are of different models, or the facts of the assessment do not say how it was made.
    """
    contents = assessment_contents(assessment, names)
    models = models_of(model, assessment)
    refuse_mixed_models(models)
    settings = next(iter(model.training_history.values()), {}).get("settings")
    contents["tables"] |= report_tables(cohort, model, names)
    contents |= page_frame(config.title, SECTIONS, facts, OF_REPORT)
    contents |= {
        "description": config.data_description,
        "cohort": cohort,
        "model": model,
        "card": model.card,
        "training": model.training_run or {},
        "notices": notices_of(models, model.description, None if settings is None else str(settings)),
        "card_tables": data_tables.card_tables(model.card, names),
        "without_volume": data_tables.without_volume(cohort.study_index),
        "saliency_medians": saliency_medians(model.saliency_checks),
        "maps_hardly_differ": maps_hardly_differ(model.saliency_checks),
        "limitations": [*report_limitations(model, assessment), *config.limitations],
        "n_patients": cohort.study_index["patient_key"].nunique(),
    }
    return rendered("report.html.j2", contents)


def report_tables(cohort: CohortData, model: ModelEvidence, names: Mapping[str, str]) -> dict[str, Table]:
    """The tables that only the report has, by the name the template uses."""
    return {
        "cohorts": data_tables.cohort_table(cohort.study_index),
        "flow": data_tables.flow_table(cohort.cohort_flow),
        "prevalence": data_tables.prevalence_table(cohort.study_index, names),
        "harmonization": data_tables.sources_table(cohort.harmonization_report),
        "history": data_tables.history_table(model.training_history),
        "separation": explanation_tables.separation_report_table(model.lora_separation),
        "lora": explanation_tables.lora_table(model.lora_pca, names),
        "saliency": explanation_tables.saliency_check_table(model.saliency_checks, names),
        "checklist": checklist_table(),
    }


def saliency_medians(checks: pd.DataFrame) -> list[str]:
    """Median rank correlations of the sanity checks, as text: untrained model, random model, other task."""
    columns = ("rank_correlation_untrained", "rank_correlation_random", "rank_correlation_swapped")
    medians = [checks[name].astype("float64").median() for name in columns]
    return ["undefined" if pd.isna(value) else f"{value:.2f}" for value in medians]


def maps_hardly_differ(checks: pd.DataFrame) -> bool:
    """Whether the map of a task mostly ranks the patches as the map of another task does."""
    return bool(checks["rank_correlation_swapped"].astype("float64").median() >= HARDLY_DIFFERENT)
