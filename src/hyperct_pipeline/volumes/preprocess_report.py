"""Preprocessing of a whole archive: which studies are due, a row for each, and the table of all."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pandas as pd

from hyperct_pipeline.errors import StoreError
from hyperct_pipeline.volumes.preprocessing import EmptyVolumeError, PreprocessConfig, preprocess
from hyperct_pipeline.volumes.progress import Progress
from hyperct_pipeline.volumes.quality import REJECT
from hyperct_pipeline.volumes.store import StoredVolume
from hyperct_pipeline.volumes.volume import Volume

Rows = Mapping[str, Mapping[str, Any]]

_COLUMN_TYPES = {
    "study_key": "string",
    "status": "string",  # stored / refused / failed
    "reason_codes": "string",  # joined by ";"
    "volume": "string",  # key in the volume store, null unless stored
    "shape": "string",  # z;y;x as stored
    "n_slices": "Int64",  # stored, of those in the grid
    "preprocess_digest": "string",
}


def preprocess_all(
    quality: pd.DataFrame, volumes: Mapping[str, Callable[[], Volume]], done: Rows, config: PreprocessConfig
) -> Iterator[tuple[dict[str, Any], StoredVolume | None]]:
    """A row per study that is new or changed, and its volume unless it is refused or failed."""
    digest = config.digest()
    wanted = [
        {"study_key": key, "verdict": verdict, "input_sha256": sha256, "preprocess_digest": digest}
        for key, verdict, sha256 in quality[["study_key", "verdict", "output_sha256"]].itertuples(index=False)
    ]
    todo = [row for row in wanted if not _is_done(row, done.get(row["study_key"]))]
    progress = Progress("preprocess", len(todo))
    for row in todo:
        stored, reason = None, "QUALITY_REJECT"
        if row["verdict"] != REJECT:
            stored, reason = _stored(volumes[row["study_key"]], config)
        progress.count(usable=stored is not None)
        yield row | _outcome(row["study_key"], stored, reason), stored


def preprocess_table(quality: pd.DataFrame, rows: Rows) -> pd.DataFrame:
    """One row per study of the quality table; rows of studies that are no longer in it are left out."""
    table = pd.DataFrame([dict(rows[key]) for key in quality["study_key"]], columns=list(_COLUMN_TYPES))
    return table.astype(_COLUMN_TYPES)


def _is_done(wanted: Mapping[str, Any], row: Mapping[str, Any] | None) -> bool:
    return row is not None and row["status"] != "failed" and all(row[key] == wanted[key] for key in wanted)


def _stored(load: Callable[[], Volume], config: PreprocessConfig) -> tuple[StoredVolume | None, str]:
    try:
        return preprocess(load(), config), ""
    except StoreError:
        return None, "NIFTI_UNREADABLE"
    except EmptyVolumeError:
        return None, "EMPTY_VOLUME"


def _outcome(key: str, stored: StoredVolume | None, reason: str) -> dict[str, Any]:
    if stored is None:
        status = "refused" if reason == "QUALITY_REJECT" else "failed"
        return {"status": status, "reason_codes": reason, "volume": None, "shape": None, "n_slices": None}
    return {
        "status": "stored",
        "reason_codes": "",
        "volume": key,
        "shape": ";".join(map(str, stored.hu.shape)),
        "n_slices": stored.hu.shape[0],
    }
