"""Calibrators and thresholds: fitted on the validation split, applied everywhere, kept as JSON."""

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from hyperct_pipeline.errors import LeakageError
from hyperct_pipeline.metrics import calibration, discrimination

Calibration = dict[str, dict[str, Any]]
"""Task -> slope, intercept, threshold_youden, n, n_pos, n_unknown, split_digest, status, method."""


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


def fit_calibration(predictions: pd.DataFrame, min_class_count: int) -> Calibration:
    """Per task a line on the logit and the Youden threshold on `probability`, from the validation split
    alone.

    Method `platt` with min_class_count studies of each class, or `flat` where the line would not rise with the
    score (slope 0: everybody gets the prevalence, so nothing is left to decide by); `intercept` (slope 1) with
    at least one of each; otherwise null with the status. A task without a calibrator keeps an unknown calibrated
    probability.

    Raises:
        LeakageError: a patient stands in the validation and in the test split.
    """
    refuse_shared_patients(predictions)
    validation = predictions[(predictions["split"] == "validation").fillna(False)]
    digest = split_digest(validation)
    return {
        str(task): _fit_task(validation[validation["task"] == task], min_class_count) | {"split_digest": digest}
        for task in predictions["task"].unique()
    }


def _fit_task(rows: pd.DataFrame, min_class_count: int) -> dict[str, Any]:
    known = rows[rows["label"].notna()]
    label = known["label"].to_numpy(dtype=np.int8)
    score = known["logit"].to_numpy(dtype=np.float64)
    n, n_pos = len(label), int(label.sum())
    enough = min(n_pos, n - n_pos) >= min_class_count
    line = calibration.platt_line(label, score) if enough else calibration.intercept_line(label, score)
    return {
        "method": _method(line, enough),
        "slope": None if line is None else line.slope,
        "intercept": None if line is None else line.intercept,
        "threshold_youden": discrimination.youden_threshold(label, known["probability"].to_numpy()),
        "n": n,
        "n_pos": n_pos,
        "n_unknown": len(rows) - n,
        "status": discrimination.status(n_pos, n - n_pos),
    }


def _method(line: calibration.Line | None, enough: bool) -> str | None:
    if line is None:
        return None
    if not enough:
        return "intercept"
    return "platt" if line.slope > 0 else "flat"


def apply_calibration(predictions: pd.DataFrame, calibrators: Calibration) -> pd.DataFrame:
    """A copy with probability_calibrated and the task's threshold_youden; NaN for tasks without them."""
    calibrated, threshold = np.full(len(predictions), np.nan), np.full(len(predictions), np.nan)
    for task, fitted in calibrators.items():
        rows = (predictions["task"] == task).to_numpy(dtype=bool)
        if fitted["threshold_youden"] is not None:
            threshold[rows] = fitted["threshold_youden"]
        if fitted["slope"] is not None:
            line = calibration.Line(fitted["slope"], fitted["intercept"])
            calibrated[rows] = calibration.apply_line(line, predictions["logit"].to_numpy()[rows])
    return predictions.assign(probability_calibrated=calibrated, threshold_youden=threshold)


def split_digest(rows: pd.DataFrame) -> str:
    """Hash of which studies of which patients a split holds, whatever their order."""
    members = sorted({f"{s}|{p}" for s, p in zip(rows["study_key"], rows["patient_key"], strict=True)})
    return hashlib.sha256("\n".join(members).encode()).hexdigest()[:16]
