"""The assessed table as arrays: per cohort and task the studies whose label is known.

Shape letters: n studies with a known label.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hyperct_pipeline.evaluation.assess_settings import ALL
from hyperct_pipeline.evaluation.prediction_problems import RECALIBRATED, RIVAL, THRESHOLDS, rivals_of
from hyperct_pipeline.metrics import discrimination

OTHER = "other"  # group of a task that the catalogue does not know


@dataclass(frozen=True)
class Known:
    """The studies of a task whose label is known."""

    label: NDArray[np.int8]
    probability: NDArray[np.float64]
    calibrated: NDArray[np.float64]  # NaN where there is no calibrator
    rivals: Mapping[str, NDArray[np.float64]]  # further models -> their probabilities
    patient: NDArray[np.int64]  # numbers of the patients of the part
    n_unknown: int
    thresholds: Mapping[str, float | None]  # chosen on validation, on probability; None: there is none

    @property
    def is_recalibrated(self) -> bool:
        """Whether every study has a recalibrated risk."""
        return len(self.calibrated) > 0 and not bool(np.isnan(self.calibrated).any())

    @property
    def recalibration_is_flat(self) -> bool:
        """Whether recalibration gave one risk to everybody although the model did not."""
        return self.is_recalibrated and bool(np.ptp(self.calibrated) == 0 and np.ptp(self.probability) > 0)

    @property
    def counts(self) -> dict[str, Any]:
        """n, n_pos, n_neg, n_patients, n_unknown and the status they allow; all but n_unknown of known labels."""
        n, n_pos = len(self.label), int(self.label.sum())
        return {
            "n": n,
            "n_pos": n_pos,
            "n_neg": n - n_pos,
            "n_patients": len(np.unique(self.patient)),
            "n_unknown": self.n_unknown,
            "status": discrimination.status(n_pos, n - n_pos),
        }


@dataclass(frozen=True)
class Part:
    """One cohort of the assessed table, or all of it."""

    cohort: str
    tasks: Mapping[str, Known]  # in the order of the tables
    n_patients: int


def known_of(rows: pd.DataFrame) -> Known:
    """Arrays of one task's rows whose label is known; patients are numbered here unless the rows number them."""
    known = rows[rows["label"].notna()]
    has_number = "patient_number" in known
    patient = known["patient_number"].to_numpy() if has_number else pd.factorize(known["patient_key"])[0]
    return Known(
        label=known["label"].to_numpy(dtype=np.int8),
        probability=known["probability"].to_numpy(dtype=np.float64),
        calibrated=known[RECALIBRATED].to_numpy(dtype=np.float64, na_value=np.nan),
        rivals={model: known[RIVAL + model].to_numpy(dtype=np.float64) for model in rivals_of(known)},
        patient=patient,
        n_unknown=len(rows) - len(known),
        thresholds={name: _only(rows[name]) if name in rows else None for name in THRESHOLDS},
    )


def _only(column: pd.Series) -> float | None:
    values = column.dropna().unique()
    return float(values[0]) if len(values) else None


def part_of(predictions: pd.DataFrame, cohort: str, tasks: list[str]) -> Part:
    """Rows of one cohort as arrays; a task without any row there has no studies.

    Patients are numbered here, from 0 without gaps, unless the rows carry a `patient_number`.
    """
    numbered = predictions
    if "patient_number" not in predictions:
        numbered = predictions.assign(patient_number=pd.factorize(predictions["patient_key"])[0])
    found = dict(iter(numbered.groupby("task", sort=False, observed=True)))
    empty = numbered.iloc[:0]
    return Part(
        cohort, {task: known_of(found.get(task, empty)) for task in tasks}, numbered["patient_number"].nunique()
    )


def parts_of(predictions: pd.DataFrame, groups: Mapping[str, str]) -> Iterator[Part]:
    """The whole table as `all`, then every cohort; only `all` where there are no cohorts."""
    tasks = list(groups)
    yield part_of(predictions, ALL, tasks)
    cohorts = sorted(set(predictions["cohort"].dropna().astype(str)))
    for cohort in cohorts:
        yield part_of(predictions[(predictions["cohort"] == cohort).fillna(False)], cohort, tasks)


def in_key_order(predictions: pd.DataFrame) -> pd.DataFrame:
    """Rows by patient and study, so that no bootstrap draw depends on the order of the table; the index goes along."""
    patient, study = (pd.factorize(predictions[key], sort=True)[0] for key in ("patient_key", "study_key"))
    return predictions.iloc[np.lexsort((study, patient))]


def groups_of(predictions: pd.DataFrame, catalogue: Mapping[str, str]) -> dict[str, str]:
    """Task -> group of the tasks in the table, those of the catalogue first, others as group `other`.

    Others stand in the order of the table, which the index keeps.
    """
    found = list(dict.fromkeys(predictions["task"].sort_index(kind="stable").astype(str)))
    known = {task: group for task, group in catalogue.items() if task in set(found)}
    return known | {task: OTHER for task in found if task not in known}
