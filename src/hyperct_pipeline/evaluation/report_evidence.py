"""What the pages are made from: tables and figures of the other pipelines, by what they speak of.

Each class can be a node of a pipeline itself: it gathers what the catalog holds. Figures are bytes of SVG or PNG.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from hyperct_pipeline.errors import PackageError
from hyperct_pipeline.evaluation.assess_settings import AssessConfig, settings_of
from hyperct_pipeline.evaluation.assessed_table import OF_PREDICTIONS


@dataclass(frozen=True)
class Assessment:
    """What was assessed, with its numbers and figures; frames as `assess` wrote them."""

    facts: Mapping[str, Any]
    metrics_full: pd.DataFrame
    decision_curves: pd.DataFrame
    model_comparison: pd.DataFrame
    negative_transfer: pd.DataFrame
    subgroup_differences: pd.DataFrame
    failure_cases: pd.DataFrame
    calibration: (
        Mapping[str, Any] | None
    )  # of our model, as `recalibration.fit_calibration` made it; None: there is none
    fitted_calibration: Mapping[str, Any]  # fitted by the assessment for its own rows; {} where none was
    auroc_figure: bytes
    calibration_figure: bytes
    decision_curve_figures: Mapping[str, bytes]  # file name of the cohort -> figure
    comparison_figures: Mapping[str, bytes]  # file name of the rival -> figure

    @property
    def settings(self) -> AssessConfig:
        """The settings the numbers were made with.

        Raises:
            PackageError: the facts do not hold them.
        """
        return settings_of(self.facts)

    @property
    def is_recalibrated_by_table(self) -> bool:
        """Whether recalibrated risks or thresholds came with the assessed table."""
        return bool(self.facts["recalibration"] == OF_PREDICTIONS)

    @property
    def applied_calibration(self) -> Mapping[str, Any]:
        """What the assessed risks were recalibrated with; {} where nothing was, or the table alone knows.

        Risks that the table brought are credited to our model's calibration only where both name the same model.
        """
        if self.fitted_calibration:
            return self.fitted_calibration
        ours, model = self.calibration or {}, self.facts["model_id"]
        is_ours = self.is_recalibrated_by_table and model is not None and ours.get("model_id") == model
        return ours if is_ours else {}

    @property
    def part(self) -> str:
        """What was assessed, for titles."""
        split = self.facts["split"]
        return "whole table" if split is None else f"{split} split"


@dataclass(frozen=True)
class CohortData:
    """Who was studied and what is known of them."""

    study_index: pd.DataFrame
    cohort_flow: pd.DataFrame
    harmonization_report: pd.DataFrame
    label_prevalence: bytes


@dataclass(frozen=True)
class ModelEvidence:
    """The model, its training, and what its adapters and maps show."""

    card: Mapping[str, Any]
    description: Mapping[str, Any] | None  # of the package as it is now; None: there is none
    training_run: Mapping[str, Any] | None  # {run_id, model_id, version}; None: the training was not tracked
    training_history: Mapping[str, Mapping[str, Any]]
    training_curves: bytes
    task_curves: bytes
    lora_pca: pd.DataFrame
    lora_separation: pd.DataFrame
    lora_pca_figure: bytes
    saliency_checks: pd.DataFrame
    saliency_overview: bytes


def models_of(model: ModelEvidence, assessment: Assessment) -> dict[str, str | None]:
    """Id of the model that each part of a report is of; None where a part names none.

    Raises:
        PackageError: a part is of another version of the software.
    """
    for name, table, column in (
        ("lora_pca", model.lora_pca, "model_id"),
        ("saliency_checks", model.saliency_checks, "rank_correlation_random"),
    ):
        if column not in table:
            raise PackageError(
                f"{name} has no column {column}: it is of another version of the software. Run "
                "`kedro run --pipeline=explain` again."
            )
    adapters, maps = (table["model_id"].dropna() for table in (model.lora_pca, model.saliency_checks))
    return {
        "model card": model.card["model_id"],
        "adapters": str(adapters.iloc[0]) if len(adapters) else None,
        "saliency": str(maps.iloc[0]) if len(maps) else None,
        "assessment": assessment.facts["model_id"],
        "calibration": (assessment.calibration or {}).get("model_id"),
        "calibration of the assessment": assessment.fitted_calibration.get("model_id"),
        "model package": None if model.description is None else model.description["model_id"],
    }
