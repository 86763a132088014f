"""Nodes of `convert`: archive -> series groups -> chosen series -> volumes and manifest."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from hyperct_pipeline.dicom import manifest
from hyperct_pipeline.dicom.conversion import ConvertConfig, convert_all, is_done
from hyperct_pipeline.dicom.selection import ChosenSeries
from hyperct_pipeline.dicom.selection import select_series as select
from hyperct_pipeline.dicom.series import SeriesGroup, index_series
from hyperct_pipeline.pseudonyms import Pseudonyms
from hyperct_pipeline.volumes.progress import Progress
from hyperct_pipeline.volumes.volume import Volume

Rows = dict[str, dict[str, Any]]


def index_archive(archive: Path, config: ConvertConfig) -> list[SeriesGroup]:
    """All series groups of the archive; they hold paths and identifiers and stay in memory."""
    return index_series(archive, config.n_workers)


def select_series(
    series_groups: list[SeriesGroup], pseudonyms: Pseudonyms, config: ConvertConfig
) -> tuple[pd.DataFrame, list[ChosenSeries]]:
    """The series index, and the series of each study to convert."""
    return select(series_groups, pseudonyms, config)


def convert_studies(
    chosen_series: list[ChosenSeries], conversion_rows_done: Rows, config: ConvertConfig
) -> Iterator[tuple[dict[str, Volume], Rows]]:
    """Volumes and rows of the studies that are new or changed, one at a time."""
    yield {}, {}  # Kedro looks at the first chunk, and there may be no other
    todo = [s for s in chosen_series if not is_done(s, conversion_rows_done.get(s.study_key), config)]
    progress = Progress("convert", len(todo))
    for conversion in convert_all(todo, config):
        key = conversion.row["study_key"]
        progress.count(usable=conversion.volume is not None)
        yield ({key: conversion.volume} if conversion.volume else {}), {key: conversion.row}


def conversion_manifest(series_index: pd.DataFrame, conversion_rows: Rows) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The manifest, and beside it the seconds each study took."""
    return (
        manifest.conversion_manifest(series_index, conversion_rows),
        manifest.conversion_timings(conversion_rows),
    )
