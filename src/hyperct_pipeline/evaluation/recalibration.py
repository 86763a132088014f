"""Calibrators and thresholds: fitted on the validation split, applied everywhere, kept as JSON."""

import hashlib
import logging
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hyperct_pipeline.errors import LabelTableError, LeakageError
from hyperct_pipeline.evaluation.assess_settings import RecalibrationConfig
from hyperct_pipeline.metrics import calibration, discrimination

logger = logging.getLogger(__name__)

Calibration = dict[str, Any]
"""model_id, split_digest, n_studies, n_patients, target_sensitivity, and `tasks`: task -> method, slope, intercept,
knots (isotonic only), threshold_youden, threshold_target_sensitivity, n, n_pos, n_unknown, status. Plain JSON."""


def refuse_shared_patients(predictions: pd.DataFrame) -> None:
    """A threshold chosen on patients who are then tested is no threshold chosen beforehand.

    Raises:
        LeakageError: a patient stands in the validation and in the test split.
    """
    validation, test = (
        set(predictions.loc[(predictions["split"] == split).fillna(False), "patient_key"].dropna())
        for split in ("validation", "test")
    )
    if shared := validation & test:
        raise LeakageError(
            f"{len(shared)} patients stand in both validation and test, e.g. {sorted(shared)[:3]}; run "
            "`harmonize` again so that every patient has one split"
        )


def refuse_trained_patients(studies: pd.DataFrame, trained_patients: Iterable[str]) -> None:
    """The splits may have moved since the model was trained.

    Raises:
        LeakageError: a study to be scored is of a patient the model was trained on.
    """
    known = studies["patient_key"].isin(set(trained_patients))
    if known.any():
        patients = sorted(studies.loc[known, "patient_key"].unique())
        raise LeakageError(
            f"{len(patients)} patients of the studies to be scored were in the training split of this model, e.g. "
            f"{patients[:3]}: the splits have changed since; train again with `kedro run --pipelines=fit`"
        )


def refuse_other_validation(validation: pd.DataFrame, assessed: pd.DataFrame) -> None:
    """A validation table serves only predictions of the same model on other patients.

    Raises:
        LeakageError: patients or studies stand in both tables.
        LabelTableError: both name their model, and it is not the same, or they have no task in common.
    """
    for key, what in (("patient_key", "patients"), ("study_key", "studies")):
        if shared := set(validation[key]) & set(assessed[key]):
            raise LeakageError(
                f"validation: column {key}: {len(shared)} {what} stand in the predictions too; recalibration and "
                "thresholds need patients who are not assessed"
            )
    models = [set(table["model_id"].dropna()) for table in (validation, assessed)]
    if models[0] and models[1] and models[0] != models[1]:
        raise LabelTableError(
            f"validation: column model_id: {len(validation)} rows of model {sorted(models[0])}, the predictions are of "
            f"{sorted(models[1])}"
        )
    if not set(validation["task"]) & set(assessed["task"]):
        raise LabelTableError(f"validation: column task: none of its {validation['task'].nunique()} tasks is assessed")


def fit_calibration(validation: pd.DataFrame, config: RecalibrationConfig) -> Calibration:
    """Per task a calibrator of the logit, and two thresholds on `probability`, from validation rows alone.

    Method `platt` (or `isotonic`) with the counts of each class that the configuration asks for; `flat` where
    Platt's line would not rise with the score (slope 0: everybody gets the prevalence, so nothing is left to decide
    by); `intercept` (slope 1) with at least one of each; otherwise null with the status. A task without a calibrator
    keeps an unknown calibrated probability.
    """
    models = list(validation["model_id"].dropna().unique()) if "model_id" in validation else []
    tasks = {str(task): _fit_task(rows, config) for task, rows in validation.groupby("task", sort=False, observed=True)}
    others = [task for task, fitted in tasks.items() if fitted["method"] != "isotonic"]
    if config.method == "isotonic" and others:
        logger.warning(
            "recalibration.method is isotonic, which needs %d validation studies of each class "
            "(recalibration.isotonic_min_class_count): %d of %d tasks have fewer and are recalibrated by a line: %s",
            config.isotonic_min_class_count, len(others), len(tasks), ", ".join(others),
        )  # fmt: skip
    return {
        "model_id": str(models[0]) if len(models) else None,
        "split_digest": split_digest(validation),
        "n_studies": int(validation["study_key"].nunique()),
        "n_patients": int(validation["patient_key"].nunique()),
        "target_sensitivity": config.target_sensitivity,
        "tasks": tasks,
    }


def _fit_task(rows: pd.DataFrame, config: RecalibrationConfig) -> dict[str, Any]:
    known = rows[rows["label"].notna()]
    label = known["label"].to_numpy(dtype=np.int8)
    score, probability = (known[name].to_numpy(dtype=np.float64) for name in ("logit", "probability"))
    n, n_pos = len(label), int(label.sum())
    target = discrimination.target_sensitivity_threshold(label, probability, config.target_sensitivity)
    return _calibrator(label, score, config) | {
        "threshold_youden": discrimination.youden_threshold(label, probability),
        "threshold_target_sensitivity": target,
        "n": n,
        "n_pos": n_pos,
        "n_unknown": len(rows) - n,
        "status": discrimination.status(n_pos, n - n_pos),
    }


def _calibrator(label: NDArray[np.int8], score: NDArray[np.float64], config: RecalibrationConfig) -> dict[str, Any]:
    """method, slope, intercept and knots; None where there are none."""
    smaller = min(int(label.sum()), int((1 - label).sum()))
    if config.method == "isotonic" and smaller >= config.isotonic_min_class_count:
        x, y = calibration.isotonic_knots(label, score)
        knots = {"logit": x.tolist(), "probability": y.tolist()}
        return {"method": "isotonic", "slope": None, "intercept": None, "knots": knots}
    enough = smaller >= config.min_class_count
    line = calibration.platt_line(label, score) if enough else calibration.intercept_line(label, score)
    if line is None:
        return {"method": None, "slope": None, "intercept": None, "knots": None}
    method = "intercept" if not enough else "platt" if line.slope > 0 else "flat"
    return {"method": method, "slope": line.slope, "intercept": line.intercept, "knots": None}


def recalibrated(fitted: Mapping[str, Any], score: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities of logits by the calibrator of one task; NaN where it has none."""
    if fitted["knots"] is not None:
        result: NDArray[np.float64] = np.interp(score, fitted["knots"]["logit"], fitted["knots"]["probability"])
        return result
    if fitted["slope"] is None:
        return np.full(len(score), np.nan)
    return calibration.apply_line(calibration.Line(fitted["slope"], fitted["intercept"]), score)


def apply_calibration(predictions: pd.DataFrame, fitted: Calibration) -> pd.DataFrame:
    """A copy with probability_calibrated and both thresholds of the task; NaN for tasks without them.

    Raises:
        LabelTableError: calibration and predictions are of different models.
    """
    models = set(predictions["model_id"].dropna()) if "model_id" in predictions else set()
    if fitted["model_id"] is not None and models - {fitted["model_id"]}:
        raise LabelTableError(
            f"the calibration is of model {fitted['model_id']}, the predictions are of {sorted(models)}; "
            "run `predict` again"
        )
    columns = {
        name: np.full(len(predictions), np.nan)
        for name in ("probability_calibrated", "threshold_youden", "threshold_target_sensitivity")
    }
    logit = predictions["logit"].to_numpy(dtype=np.float64)
    for task, of_task in fitted["tasks"].items():
        rows = (predictions["task"] == task).fillna(False).to_numpy(dtype=bool)
        columns["probability_calibrated"][rows] = recalibrated(of_task, logit[rows])
        for name in ("threshold_youden", "threshold_target_sensitivity"):
            if of_task[name] is not None:
                columns[name][rows] = of_task[name]
    return predictions.assign(**columns)


def split_digest(rows: pd.DataFrame) -> str:
    """Hash of which studies of which patients a split holds, whatever their order."""
    members = sorted({f"{s}|{p}" for s, p in zip(rows["study_key"], rows["patient_key"], strict=True)})
    return hashlib.sha256("\n".join(members).encode()).hexdigest()[:16]
