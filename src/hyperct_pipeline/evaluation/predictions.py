"""The predictions table: which studies are scored, and one row per study and task."""

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from scipy.special import expit

from hyperct_pipeline.errors import LabelTableError, StoreError
from hyperct_pipeline.model.settings import ScoringPrecision
from hyperct_pipeline.training.settings import DEVICE_PATTERN
from hyperct_pipeline.volumes.store import VolumeStore

logger = logging.getLogger(__name__)

STUDY_COLUMNS = ("study_key", "patient_key", "cohort", "split")
SUBGROUP_TEXTS, SUBGROUP_NUMBERS = ("site", "sex", "scanner", "kernel"), ("age_years", "slice_thickness_mm")


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class PredictConfig:
    """How studies are scored and how the scores are recalibrated."""

    batch_size: int = Field(default=4, ge=1)  # studies scored together
    device: str = Field(default="auto", pattern=DEVICE_PATTERN)
    precision: ScoringPrecision = "auto"  # of matrix products: fp16 on CUDA, fp32 on a CPU
    splits: tuple[str, ...] = ("validation", "test")  # splits of the study index that are scored


def studies_to_score(
    index: pd.DataFrame, store: VolumeStore, splits: Sequence[str], tasks: Sequence[str]
) -> pd.DataFrame:
    """Rows of the study index that are scored: those of the splits that have a volume. The others are counted.

    Raises:
        LabelTableError: the index has no column for a task of the model.
        StoreError: not one study of these splits has a volume, or the store lacks one that the index names.
    """
    if absent := [task for task in tasks if task not in index]:
        raise LabelTableError(f"study_index has no label column for {absent}; run `harmonize` with this catalogue")
    # validation first, as the configuration names it first: it is what recalibration waits for
    of_splits = pd.concat([index[(index["split"] == split).fillna(False)] for split in splits])
    # the index decides: the store may still hold volumes of studies that have been refused since
    has_volume = of_splits["volume"].notna()
    store.require(of_splits["study_key"][has_volume])
    if not has_volume.any():
        raise StoreError(
            f"none of the {len(of_splits)} studies of the splits {list(splits)} has a volume; run `preprocess` first"
        )
    for split, missing in (~has_volume).groupby(of_splits["split"]).sum().items():
        if missing:
            logger.warning("%d studies of split %s have no volume and are not scored", missing, split)
    return of_splits[has_volume]


def predictions_table(
    studies: pd.DataFrame, logits: NDArray[np.float64], tasks: Sequence[str], model_id: str
) -> pd.DataFrame:
    """One row per study and task, studies in the order given.

    Args:
        studies: the studies scored; a column of `STUDY_COLUMNS` or a task's label column that is absent is unknown
            throughout, as for new scans.
        logits: (n, T).

    Returns:
        study_key, patient_key, cohort, split, task, label (Int8, NA where unknown), logit, probability
        (float64), probability_calibrated (NA until a calibration is applied), model_id, and what subgroups are made
        of, where the studies have it: site, sex, scanner, kernel, age_years, slice_thickness_mm.
    """
    n, n_tasks = logits.shape
    if (n, n_tasks) != (len(studies), len(tasks)):
        raise ValueError(f"logits are {logits.shape}, expected {(len(studies), len(tasks))}")
    columns = studies.reindex(columns=list(STUDY_COLUMNS)).astype("string")
    texts, numbers = ([c for c in of if c in studies] for of in (SUBGROUP_TEXTS, SUBGROUP_NUMBERS))
    columns = columns.join(studies[texts].astype("string")).join(studies[numbers].astype("Float64"))
    frame = columns.loc[columns.index.repeat(n_tasks)].reset_index(drop=True)
    frame["task"] = pd.array(list(tasks) * n, dtype="string")
    labels = studies.reindex(columns=list(tasks)).astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
    frame["label"] = pd.array(labels.ravel(), dtype="Float64").astype("Int8")
    frame["logit"] = logits.ravel()
    frame["probability"] = expit(logits.ravel())
    frame["probability_calibrated"] = np.nan
    frame["model_id"] = pd.array([model_id] * len(frame), dtype="string")
    return frame
