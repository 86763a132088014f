"""Adapters of the `predict` pipeline: scores, calibrators from validation, the predictions table."""

import logging
from typing import TYPE_CHECKING, Any

import pandas as pd

from hyperct_pipeline.evaluation.assess_settings import RecalibrationConfig
from hyperct_pipeline.evaluation.predictions import PredictConfig, predictions_table, studies_to_score
from hyperct_pipeline.evaluation.recalibration import (
    Calibration,
    apply_calibration,
    fit_calibration,
    refuse_shared_patients,
    refuse_trained_patients,
)
from hyperct_pipeline.volumes.store import VolumeStore

if TYPE_CHECKING:
    from hyperct_pipeline.training.checkpoint import ModelPackage
else:
    ModelPackage = Any  # kedro starts without torch, and the other hints stay readable at run time

logger = logging.getLogger(__name__)


def score_studies(
    model_package: ModelPackage, study_index: pd.DataFrame, volume_store: VolumeStore, config: PredictConfig
) -> pd.DataFrame:
    """Logits and probabilities of every study of the configured splits that has a volume."""
    from hyperct_pipeline.evaluation.inference import logged_progress, predict_logits
    from hyperct_pipeline.training.device import device_of

    refuse_shared_patients(study_index)
    studies = studies_to_score(study_index, volume_store, config.splits, model_package.tasks)
    refuse_trained_patients(studies, model_package.trained_patients)
    logits = predict_logits(
        model_package,
        volume_store,
        list(studies["study_key"]),
        device_of(config.device),
        config.batch_size,
        logged_progress(),
        config.precision,
    )
    return predictions_table(studies, logits, model_package.tasks, model_package.model_id)


def calibrate(scored: pd.DataFrame, config: RecalibrationConfig) -> Calibration:
    """Calibrators and thresholds, fitted on the validation split alone."""
    refuse_shared_patients(scored)
    fitted = fit_calibration(scored[(scored["split"] == "validation").fillna(False)], config)
    without = [task for task, of in fitted["tasks"].items() if of["method"] is None]
    if without:
        logger.warning("no calibrator for %d tasks, one class on validation: %s", len(without), without)
    return fitted


def recalibrate(scored: pd.DataFrame, calibration: Calibration) -> pd.DataFrame:
    """The predictions table with calibrated probabilities."""
    return apply_calibration(scored, calibration)


def describe_model(model_package: ModelPackage) -> dict[str, Any]:
    """Facts of the model for its card."""
    from hyperct_pipeline.evaluation.model_card import model_card

    return model_card(model_package)
