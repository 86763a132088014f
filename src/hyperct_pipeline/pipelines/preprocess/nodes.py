"""Nodes of `preprocess`: accepted volumes into the volume store."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from hyperct_pipeline.study_workers import WorkersConfig
from hyperct_pipeline.volumes import preprocess_report
from hyperct_pipeline.volumes.converted import NiftiFile
from hyperct_pipeline.volumes.preprocessing import PreprocessConfig
from hyperct_pipeline.volumes.store import StoredVolume, VolumeStore

Rows = dict[str, dict[str, Any]]


def preprocess_studies(
    quality_table: pd.DataFrame,
    nifti: dict[str, NiftiFile],
    preprocess_rows_done: Rows,
    volume_store_done: VolumeStore,
    config: PreprocessConfig,
    workers: WorkersConfig,
) -> Iterator[tuple[dict[str, StoredVolume], Rows]]:
    """Rows of the studies that are new or changed, one at a time; study processes store their volumes themselves."""
    yield {}, {}  # Kedro looks at the first chunk, and there may be no other
    due = preprocess_report.studies_due(quality_table, nifti, preprocess_rows_done, volume_store_done, config)
    for row in preprocess_report.preprocess_all(due, volume_store_done, config, workers):
        yield {}, {row["study_key"]: row}


def preprocess_table(quality_table: pd.DataFrame, preprocess_rows: Rows) -> pd.DataFrame:
    """One row per judged study: where its volume is, or why there is none."""
    return preprocess_report.preprocess_table(quality_table, preprocess_rows)
