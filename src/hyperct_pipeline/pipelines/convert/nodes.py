"""Nodes of `convert`: archive -> series groups -> chosen series -> volumes and manifest."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from hyperct_pipeline.dicom import manifest
from hyperct_pipeline.dicom.conversion import ConvertConfig, convert_all
from hyperct_pipeline.dicom.crosswalk import crosswalk_table
from hyperct_pipeline.dicom.decisions import decisions_of
from hyperct_pipeline.dicom.finished import is_done
from hyperct_pipeline.dicom.index import ArchiveIndex, index_series
from hyperct_pipeline.dicom.nifti_cohort import NiftiCohort
from hyperct_pipeline.dicom.nifti_selection import select_volumes
from hyperct_pipeline.dicom.selection import ChosenSeries
from hyperct_pipeline.dicom.selection import select_series as select
from hyperct_pipeline.pseudonyms import Pseudonyms
from hyperct_pipeline.study_workers import WorkersConfig
from hyperct_pipeline.volumes.progress import Progress
from hyperct_pipeline.volumes.volume import Volume

Rows = dict[str, dict[str, Any]]


def index_archive(
    archive: Path, nifti_table: pd.DataFrame, config: ConvertConfig, workers: WorkersConfig
) -> ArchiveIndex | NiftiCohort:
    """All series groups of the archive; they hold paths and identifiers and stay within this process.

    Where a table of NIfTI volumes is given, the archive is a folder of these.
    """
    if nifti_table.shape != (0, 0):
        return NiftiCohort(archive, nifti_table, config.nifti)
    return index_series(archive, workers)


def select_series(
    series_groups: ArchiveIndex | NiftiCohort,
    pseudonyms: Pseudonyms,
    exclusions: pd.DataFrame,
    overrides: pd.DataFrame,
    config: ConvertConfig,
) -> tuple[pd.DataFrame, list[ChosenSeries]]:
    """The series index, and the series to convert."""
    decisions = decisions_of(exclusions, overrides)
    if isinstance(series_groups, NiftiCohort):
        return select_volumes(series_groups, pseudonyms, config, decisions)
    return select(series_groups, pseudonyms, config, decisions, series_groups.lost)


def crosswalk(series_groups: ArchiveIndex | NiftiCohort, pseudonyms: Pseudonyms) -> Callable[[], pd.DataFrame]:
    """How to make the table that leads back to the archive; its dataset does so only on request."""
    return partial(crosswalk_table, series_groups, pseudonyms)


def convert_studies(
    archive: Path,
    chosen_series: list[ChosenSeries],
    conversion_rows_done: Rows,
    nifti_folder: Path,
    config: ConvertConfig,
    workers: WorkersConfig,
) -> Iterator[tuple[dict[str, Volume], Rows]]:
    """Rows of the series that are new or changed, one at a time; study processes write their volumes themselves."""
    yield {}, {}  # Kedro looks at the first chunk, and there may be no other
    todo = [s for s in chosen_series if not is_done(s, conversion_rows_done.get(s.key), nifti_folder, config)]
    progress = Progress("convert", len(todo))
    for key, row in convert_all(todo, archive, nifti_folder, config, workers):
        progress.count(usable=row["status"] == "converted")
        yield {}, {key: row}


def conversion_manifest(series_index: pd.DataFrame, conversion_rows: Rows) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The manifest, and beside it the seconds each study took."""
    return (
        manifest.conversion_manifest(series_index, conversion_rows),
        manifest.conversion_timings(conversion_rows),
    )
