"""From the study index to the studies that can be trained on."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from hyperct_pipeline.errors import LabelTableError
from hyperct_pipeline.volumes.store import VolumeStore

if TYPE_CHECKING:
    from hyperct_pipeline.training.dataset import LabelledStudies

logger = logging.getLogger(__name__)


def labelled_studies(
    study_index: pd.DataFrame, store: VolumeStore, tasks: Sequence[str], split: str
) -> "LabelledStudies":
    """Studies of a split with a volume and at least one known label; the others are counted in the log.

    Raises:
        LabelTableError: the index has no column for a task.
        StoreError: the store lacks a volume that the index names.
    """
    from hyperct_pipeline.training.dataset import LabelledStudies

    if absent := [task for task in tasks if task not in study_index]:
        raise LabelTableError(f"study_index has no label column for {absent}; run `harmonize` with this catalogue")
    rows = study_index[(study_index["split"] == split).fillna(False).astype(bool)].sort_values("study_key")
    labels = rows[list(tasks)].astype("Float64").fillna(-1).to_numpy(dtype=np.int8)
    # the index decides: the store may still hold volumes of studies that have been refused since
    stored = rows["volume"].notna().to_numpy()
    store.require(rows["study_key"][stored])
    known = (labels >= 0).any(axis=1)
    usable = stored & known
    logger.info(
        "%s: %d of %d studies; left out: %d without a volume, %d without a known label",
        split, usable.sum(), len(rows), (~stored).sum(), (stored & ~known).sum(),
    )  # fmt: skip
    keys, patients, digests = (
        tuple(rows[column][usable].astype(str)) for column in ("study_key", "patient_key", "volume_sha256")
    )
    return LabelledStudies(keys, patients, labels[usable], digests)
