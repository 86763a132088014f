"""Preprocessing of a whole archive: which studies are due, a row for each, and the table of all.

A study is done when its row says so, the settings and the input are still the same, and the store still holds the
volume that the row remembers.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd

from hyperct_pipeline.atomic_file import remove_abandoned
from hyperct_pipeline.errors import UnwritableError
from hyperct_pipeline.study_workers import ONE_AT_A_TIME, Failure, WorkersConfig
from hyperct_pipeline.volumes.converted import REMEDIES, ConvertedVolumeError, NiftiFiles, converted_volume
from hyperct_pipeline.volumes.due import Due, Row, Rows, outcomes
from hyperct_pipeline.volumes.preprocessing import EmptyVolumeError, PreprocessConfig, preprocess
from hyperct_pipeline.volumes.progress import Progress
from hyperct_pipeline.volumes.quality import REJECT
from hyperct_pipeline.volumes.store import StoredVolume, VolumeStore

logger = logging.getLogger(__name__)

_ABSENT = object()
STORED, REFUSED, FAILED = "stored", "refused", "failed"
_REMEDIES = REMEDIES | {
    "QUALITY_REJECT": "Its reasons stand in quality_table; limits are set in parameters_quality.yml.",
    UnwritableError.CODE: "Make room on the disk of data_root and run again.",
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


def studies_due(
    quality: pd.DataFrame, files: NiftiFiles, done: Rows, store: VolumeStore, config: PreprocessConfig
) -> list[Due]:
    """The studies that are new, changed or no longer stored.

    Args:
        quality: the quality table.
        files: NIfTI by study key.
        done: rows of earlier runs by study key.
        store: that earlier runs filled.
        config: of the grid.
    """
    wanted = [_wanted(study, config.digest()) for study in quality.to_dict("records")]
    return [
        Due(row, files.get(row["study_key"]))
        for row in wanted
        if not is_done(row, done.get(row["study_key"]), store, config)
    ]


def preprocess_all(
    due: Sequence[Due], store: VolumeStore, config: PreprocessConfig, workers: WorkersConfig = ONE_AT_A_TIME
) -> Iterator[Row]:
    """A row per study as they finish; study processes put the volumes into the store themselves.

    Raises:
        UnwritableError: the store cannot be written.
    """
    remove_abandoned(store.root, workers.time_limit_s)
    progress = Progress("preprocess", len(due))
    for study, outcome in outcomes(partial(preprocess_study, store=store, config=config), due, workers):
        row = study.wanted | _without_volume(FAILED, outcome.code) if isinstance(outcome, Failure) else outcome
        if row["reason_codes"] == UnwritableError.CODE:
            raise UnwritableError("the volume store")
        progress.count(usable=row["status"] == STORED)
        yield row


def preprocess_study(study: Due, store: VolumeStore, config: PreprocessConfig) -> Row:
    """What became of one study; its volume is in the store unless it is refused or failed."""
    wanted = study.wanted
    if wanted["rejected_for"] in REMEDIES:  # not refused for what it shows: quality could not read it
        return wanted | _without_volume(FAILED, wanted["rejected_for"])
    if wanted["rejected_for"] is not None:
        return wanted | _without_volume(REFUSED, "QUALITY_REJECT")
    try:
        stored = preprocess(converted_volume(study.file, wanted["input_sha256"]), config)
    except ConvertedVolumeError as error:
        return wanted | _without_volume(FAILED, str(error))
    except EmptyVolumeError:
        return wanted | _without_volume(FAILED, "EMPTY_VOLUME")
    try:
        store.put(wanted["study_key"], stored, config.store)
    except OSError:
        return wanted | _without_volume(FAILED, UnwritableError.CODE)
    return wanted | _with_volume(wanted["study_key"], stored)


def is_done(wanted: Row, row: Mapping[str, Any] | None, store: VolumeStore, config: PreprocessConfig) -> bool:
    """Whether a row of an earlier run answers what is wanted, and its volume is still there in the wanted form.

    Args:
        wanted: what the row must say.
        row: of the earlier run, None if there is none.
        store: of the earlier run.
        config: the form, and whether to read the stored voxels too and compare them with their digest.
    """
    if row is None or row["status"] == FAILED or any(row.get(key, _ABSENT) != wanted[key] for key in wanted):
        return False
    digest = str(row.get("volume_sha256"))
    return row["status"] == REFUSED or store.holds(row["study_key"], digest, config.verify_store, config.store)


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
