"""Patients into train, validation and test: official splits first, the rest by stratification of patients."""

import logging
from typing import Any

import numpy as np
import pandas as pd
from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit
from numpy.typing import NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from hyperct_pipeline.errors import LeakageError
from hyperct_pipeline.labels.source_formats import SPLITS as SPLITS

logger = logging.getLogger(__name__)

NAMED_IN_MESSAGES = 3


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SplitConfig:
    """How patients without an official split are divided."""

    cohorts: tuple[str, ...] = ("development",)  # only these are divided; others keep no split
    validation_fraction: float = 0.2  # of the patients of these cohorts, those officially placed included
    seed: int = 0
    min_positives: int = 10  # per task and split; fewer are reported and warned of

    def __post_init__(self) -> None:
        """Refuse fractions that leave one side empty."""
        if not 0 < self.validation_fraction < 1:
            raise ValueError(f"validation_fraction must lie between 0 and 1, found {self.validation_fraction}")


ASSIGNMENT_COLUMNS = ("patient_key", "split", "seed", "validation_fraction")
_SETTINGS = ["seed", "validation_fraction"]


def assign_splits(
    studies: pd.DataFrame, labels: pd.DataFrame, config: SplitConfig, earlier: pd.DataFrame | None = None
) -> "pd.Series[str]":
    """Split of every study; null where it takes no part (other cohorts without an official split).

    A patient who has an official split in one study keeps it in all, and one who was divided by an earlier run under
    the same settings stays where he was. The remaining patients of the named cohorts go
    to train or validation such that every task has its share of positives and of known labels on both sides
    (iterative stratification, Sechidis et al. 2011).

    Args:
        studies: study_key, patient_key (null: unknown patient, never placed), cohort, split (official or null).
        labels: same rows, one nullable column of 1 / 0 per task.
        config: which cohorts, how many, seed. Same seed, same patients and labels: same splits, in any row order.
        earlier: columns `ASSIGNMENT_COLUMNS`, what `split_assignments` gave in an earlier run; None or empty: nothing.

    Raises:
        LeakageError: a patient has two official splits, or a study stands under two patients.
    """
    refuse_two_patients(studies)
    refuse_two_splits(studies)
    official = studies.dropna(subset=["patient_key", "split"]).groupby("patient_key")["split"].first()
    split = studies["patient_key"].map(official).astype("str")
    divided = studies["cohort"].isin(config.cohorts) & studies["patient_key"].notna()
    split = split.mask(divided & split.isna(), studies["patient_key"].map(_kept(earlier, config)).astype("str"))
    open_ = divided & split.isna()
    if open_.any():
        placed = _validation_share(split[divided], studies["patient_key"][divided], config)
        chosen = _stratified(studies["patient_key"][open_], labels[open_.to_numpy()], placed, config.seed)
        split = split.mask(open_, studies["patient_key"].map(chosen).astype("str"))
    return split.rename("split")


def split_assignments(index: pd.DataFrame, config: SplitConfig, earlier: pd.DataFrame | None = None) -> pd.DataFrame:
    """Who was divided into train and validation under which settings, columns `ASSIGNMENT_COLUMNS`.

    Whoever was ever divided stays listed, also a patient who is not in the tables of this run and whoever was divided
    under other settings: he may come back.

    Args:
        index: patient_key, cohort, split.
        config: the settings.
        earlier: what an earlier run gave; None or empty: nothing.
    """
    divided = index[index["cohort"].isin(config.cohorts) & index["split"].isin(["train", "validation"])]
    table = divided[["patient_key", "split"]].dropna().drop_duplicates("patient_key")
    table = table.assign(seed=config.seed, validation_fraction=config.validation_fraction)
    if earlier is not None and len(earlier):
        table = pd.concat([table, earlier[list(ASSIGNMENT_COLUMNS)]], ignore_index=True)
    table = table.drop_duplicates(["patient_key", *_SETTINGS])  # of two the one of this run
    return table.sort_values(["patient_key", *_SETTINGS], ignore_index=True)


def _kept(earlier: pd.DataFrame | None, config: SplitConfig) -> "pd.Series[str]":
    """patient_key -> split of an earlier run with the same settings."""
    if earlier is None or earlier.empty:
        return pd.Series(dtype="str")
    same = (earlier["seed"] == config.seed) & (earlier["validation_fraction"] == config.validation_fraction)
    anew = earlier["patient_key"][~earlier["patient_key"].isin(earlier["patient_key"][same])].nunique()
    if anew:
        logger.info("The settings of the splits have changed: %d patients are divided anew", anew)
    return earlier[same].set_index("patient_key")["split"]


def refuse_two_splits(studies: pd.DataFrame) -> None:
    """Stop where a patient has two official splits.

    Raises:
        LeakageError: names up to three patients and their splits.
    """
    pairs = studies[["patient_key", "split"]].dropna().drop_duplicates()
    shared = pairs[pairs["patient_key"].duplicated(keep=False)].groupby("patient_key")["split"].agg(sorted)
    if len(shared):
        examples = "; ".join(f"{key} in {' and '.join(map(str, names))}" for key, names in _first(shared))
        raise LeakageError(
            f"{len(shared)} patients stand in two splits: {examples}. Correct the split column of the cohorts table: "
            "all studies of a patient belong on one side."
        )


def refuse_two_patients(studies: pd.DataFrame) -> None:
    """Stop where a study stands under two patients.

    Raises:
        LeakageError: names up to three studies and their patients.
    """
    pairs = studies[["study_key", "patient_key"]].dropna().drop_duplicates()
    shared = pairs[pairs["study_key"].duplicated(keep=False)].groupby("study_key")["patient_key"].agg(sorted)
    if len(shared):
        examples = "; ".join(f"{key} under {' and '.join(map(str, names))}" for key, names in _first(shared))
        raise LeakageError(
            f"{len(shared)} studies stand under two patients: {examples}. Correct the patient ids of the archive or of "
            "the label tables, or set the source's issuer (IssuerOfPatientID); otherwise "
            "one patient could be trained and tested on."
        )


def _first(shared: "pd.Series[Any]") -> list[tuple[object, list[str]]]:
    return [(key, list(names)) for key, names in shared.head(NAMED_IN_MESSAGES).items()]


def _validation_share(split: "pd.Series[str]", patients: "pd.Series[str]", config: SplitConfig) -> float:
    """Share of the open patients that brings validation to the wanted fraction of all."""
    by_patient = pd.DataFrame({"patient": patients, "split": split}).drop_duplicates("patient")["split"]
    n_open = int(by_patient.isna().sum())
    wanted = config.validation_fraction * int(by_patient.isin(["train", "validation"]).sum() + n_open)
    return float(np.clip((wanted - int((by_patient == "validation").sum())) / n_open, 0.0, 1.0))


def _stratified(patients: "pd.Series[str]", labels: pd.DataFrame, share: float, seed: int) -> "pd.Series[str]":
    """patient_key -> train or validation."""
    known = labels.notna().to_numpy()
    positive = labels.fillna(0).to_numpy(np.int8) == 1
    # sorted by key, so that the order of the rows does not matter
    codes, keys = pd.factorize(patients, sort=True)
    matrix = np.zeros((len(keys), 2 * labels.shape[1]), bool)
    np.logical_or.at(matrix, codes, np.hstack([positive, known]))
    in_validation = _validation_rows(matrix, share, seed)
    logger.info("Divided %d patients: %d to validation", len(keys), int(in_validation.sum()))
    return pd.Series(np.where(in_validation, "validation", "train"), index=keys, dtype="str")


def _validation_rows(matrix: NDArray[np.bool_], share: float, seed: int) -> NDArray[np.bool_]:
    chosen = np.zeros(len(matrix), bool)
    n_validation = round(share * len(matrix))
    if n_validation in (0, len(matrix)):
        return chosen if n_validation == 0 else ~chosen
    if not matrix.any():
        # nothing is known of anybody: there is nothing to balance
        chosen[np.random.default_rng(seed).permutation(len(matrix))[:n_validation]] = True
        return chosen
    splitter = MultilabelStratifiedShuffleSplit(n_splits=1, test_size=n_validation / len(matrix), random_state=seed)
    # labels that nobody has would only dilute the draw; a column of ones keeps a matrix without labels divisible
    used = np.column_stack([matrix[:, matrix.any(axis=0)], np.ones(len(matrix), bool)])
    _, validation = next(splitter.split(np.zeros((len(matrix), 1)), used.astype(np.int8)))
    chosen[validation] = True
    return chosen
