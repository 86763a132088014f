"""What the report is made from: tables and figures of the other pipelines."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Evidence:
    """Tables that the report shows; frames as the pipelines wrote them."""

    study_index: pd.DataFrame
    cohort_flow: pd.DataFrame
    harmonization_report: pd.DataFrame
    training_history: Mapping[str, Mapping[str, object]]
    calibration: Mapping[str, Any]  # as `recalibration.fit_calibration` made it; {} where none was fitted
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
        adapters = self.lora_pca["model_id"].dropna()
        return {
            "model card": self.model_card["model_id"],
            "adapters": str(adapters.iloc[0]) if len(adapters) else None,
            "assessment": self.assessment_facts["model_id"],
            "calibration": self.calibration.get("model_id"),
            "model package": None if self.model_description is None else self.model_description["model_id"],
        }

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
