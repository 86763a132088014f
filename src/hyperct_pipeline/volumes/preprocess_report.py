"""Preprocessing of a whole archive: which studies are due, a row for each, and the table of all.

A study is done when its row says so, the settings and the input are still the same, and the store still holds the
volume that the row remembers.
"""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from hyperct_pipeline.volumes.converted import (
    REMEDIES,
    ConvertedVolumeError,
    NiftiFile,
    NiftiFiles,
    converted_volume,
)
from hyperct_pipeline.volumes.preprocessing import EmptyVolumeError, PreprocessConfig, preprocess
from hyperct_pipeline.volumes.progress import Progress
from hyperct_pipeline.volumes.quality import REJECT
from hyperct_pipeline.volumes.store import StoredVolume, VolumeStore

logger = logging.getLogger(__name__)

Row = dict[str, Any]
Rows = Mapping[str, Mapping[str, Any]]

_ABSENT = object()
STORED, REFUSED, FAILED = "stored", "refused", "failed"
_REMEDIES = REMEDIES | {
    "QUALITY_REJECT": "Its reasons stand in quality_table; limits are set in parameters_quality.yml.",
    "EMPTY_VOLUME": "Nothing in it is brighter than the low end of preprocess.window_hu.",
}
_COLUMN_TYPES = {
    "study_key": "string",
    "status": "string",  # stored / refused / failed
    "reason_codes": "string",  # joined by ";"
    "message": "string",  # what to do
    "volume": "string",  # key in the volume store, null unless stored
    "volume_sha256": "string",  # digest of the stored volume
    "shape": "string",  # z;y;x as stored
    "n_slices": "Int64",  # stored, of those in the grid
    "preprocess_digest": "string",
}


def preprocess_all(
    quality: pd.DataFrame, files: NiftiFiles, done: Rows, store: VolumeStore, config: PreprocessConfig
) -> Iterator[tuple[Row, StoredVolume | None]]:
    """A row per study that is new, changed or no longer stored; and its volume unless it is refused or failed.

    Args:
        quality: the quality table.
        files: NIfTI by study key.
        done: rows of earlier runs by study key.
        store: that earlier runs filled.
        config: of the grid.
    """
    wanted = [_wanted(study, config.digest()) for study in quality.to_dict("records")]
    todo = [row for row in wanted if not is_done(row, done.get(row["study_key"]), store, config.verify_store)]
    progress = Progress("preprocess", len(todo))
    for wish in todo:
        row, stored = preprocess_study(wish, files.get(wish["study_key"]), config)
        progress.count(usable=stored is not None)
        yield row, stored


def preprocess_study(wanted: Row, file: NiftiFile | None, config: PreprocessConfig) -> tuple[Row, StoredVolume | None]:
    """One study: what was asked for and what became of it; and its volume unless it is refused or failed."""
    if wanted["rejected_for"] in REMEDIES:  # not refused for what it shows: quality could not read it
        return wanted | _without_volume(FAILED, wanted["rejected_for"]), None
    if wanted["rejected_for"] is not None:
        return wanted | _without_volume(REFUSED, "QUALITY_REJECT"), None
    try:
        stored = preprocess(converted_volume(file, wanted["input_sha256"]), config)
    except ConvertedVolumeError as error:
        return wanted | _without_volume(FAILED, str(error)), None
    except EmptyVolumeError:
        return wanted | _without_volume(FAILED, "EMPTY_VOLUME"), None
    return wanted | _with_volume(wanted["study_key"], stored), stored


def is_done(wanted: Row, row: Mapping[str, Any] | None, store: VolumeStore, verify: bool) -> bool:
    """Whether a row of an earlier run answers what is wanted, and its volume is still there.

    Args:
        wanted: what the row must say.
        row: of the earlier run, None if there is none.
        store: of the earlier run.
        verify: read the stored voxels too and compare them with their digest.
    """
    if row is None or row["status"] == FAILED or any(row.get(key, _ABSENT) != wanted[key] for key in wanted):
        return False
    return row["status"] == REFUSED or store.holds(row["study_key"], str(row.get("volume_sha256")), verify)


def preprocess_table(quality: pd.DataFrame, rows: Rows) -> pd.DataFrame:
    """One row per study of the quality table; rows of studies that are no longer in it are left out."""
    table = pd.DataFrame([dict(rows[key]) for key in quality["study_key"]], columns=list(_COLUMN_TYPES))
    table = table.astype(_COLUMN_TYPES)
    logger.info("Volumes: %s", table["status"].value_counts().to_dict())
    return table


def _wanted(study: Mapping[Any, Any], digest: str) -> Row:
    """What the row of this study has to say for itself to count as done."""
    return {
        "study_key": study["study_key"],
        "rejected_for": study["reason_codes"] if study["verdict"] == REJECT else None,
        "input_sha256": study["content_sha256"],
        "preprocess_digest": digest,
    }


def _without_volume(status: str, reason: str) -> Row:
    nothing = dict.fromkeys(("volume", "volume_sha256", "shape", "n_slices"))
    return {"status": status, "reason_codes": reason, "message": _REMEDIES[reason], **nothing}


def _with_volume(key: str, stored: StoredVolume) -> Row:
    return {
        "status": STORED,
        "reason_codes": "",
        "message": "",
        "volume": key,
        "volume_sha256": stored.digest(),
        "shape": ";".join(map(str, stored.hu.shape)),
        "n_slices": stored.hu.shape[0],
    }
