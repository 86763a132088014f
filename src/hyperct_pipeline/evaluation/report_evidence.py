"""What the report is made from: tables and figures of the other pipelines."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from hyperct_pipeline.evaluation.assessed_table import OF_PREDICTIONS


@dataclass(frozen=True)
class Evidence:
    """Tables that the report shows; frames as the pipelines wrote them."""

    study_index: pd.DataFrame
    cohort_flow: pd.DataFrame
    harmonization_report: pd.DataFrame
    training_history: Mapping[str, Mapping[str, object]]
    calibration: Mapping[str, Any]  # of the model, as `recalibration.fit_calibration` made it; {} where there is none
    assessed_calibration: Mapping[str, Any]  # fitted by the assessment for its own rows; {} where none was
    metrics_full: pd.DataFrame
    decision_curves: pd.DataFrame
    assessment_facts: Mapping[str, Any]
    model_comparison: pd.DataFrame
    negative_transfer: pd.DataFrame
    subgroup_differences: pd.DataFrame
    failure_cases: pd.DataFrame
    lora_pca: pd.DataFrame
    lora_separation: pd.DataFrame
    saliency_checks: pd.DataFrame
    model_card: Mapping[str, Any]
    model_description: Mapping[str, Any] | None  # of the package as it is now; None: there is none

    @property
    def models(self) -> dict[str, str | None]:
        """Id of the model that each part is of."""
        adapters, maps = (table["model_id"].dropna() for table in (self.lora_pca, self.saliency_checks))
        return {
            "model card": self.model_card["model_id"],
            "adapters": str(adapters.iloc[0]) if len(adapters) else None,
            "saliency": str(maps.iloc[0]) if len(maps) else None,
            "assessment": self.assessment_facts["model_id"],
            "calibration": self.calibration.get("model_id"),
            "calibration of the assessment": self.assessed_calibration.get("model_id"),
            "model package": None if self.model_description is None else self.model_description["model_id"],
        }

    @property
    def applied_calibration(self) -> Mapping[str, Any]:
        """What the assessed risks were recalibrated with; {} where nothing was, or the table alone knows.

        Risks that the table brought are credited to the model's calibration only where both name the same model.
        """
        if self.assessed_calibration:
            return self.assessed_calibration
        model = self.assessment_facts["model_id"]
        brought = self.assessment_facts["recalibration"] == OF_PREDICTIONS
        is_ours = brought and model is not None and self.calibration.get("model_id") == model
        return self.calibration if is_ours else {}

    @property
    def part(self) -> str:
        """What was assessed, for titles."""
        split = self.assessment_facts["split"]
        return "whole table" if split is None else f"{split} split"


@dataclass(frozen=True)
class Pictures:
    """Figures as bytes of SVG or PNG."""

    label_prevalence: bytes
    training_curves: bytes
    task_curves: bytes
    auroc: bytes
    calibration: bytes
    decision_curves: Mapping[str, bytes]  # cohort -> figure
    comparison: Mapping[str, bytes]  # rival -> figure
    lora_pca: bytes
    saliency_overview: bytes
