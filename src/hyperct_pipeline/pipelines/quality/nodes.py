"""Nodes of `quality`: numbers and a thumbnail per converted volume, verdicts, and pages to look at."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pandas as pd

from hyperct_pipeline.study_workers import WorkersConfig
from hyperct_pipeline.volumes import quality_page, quality_report
from hyperct_pipeline.volumes.converted import NiftiFile
from hyperct_pipeline.volumes.quality import QualityConfig

if TYPE_CHECKING:
    from matplotlib.figure import Figure
else:
    Figure = Any  # kedro starts without matplotlib

Rows = dict[str, dict[str, Any]]
Pictures = dict[str, Callable[[], bytes]]


def examine_studies(
    conversion_manifest: pd.DataFrame,
    nifti: dict[str, NiftiFile],
    quality_rows_done: Rows,
    quality_thumbnails_done: Pictures,
    workers: WorkersConfig,
) -> Iterator[tuple[dict[str, bytes], Rows]]:
    """Thumbnails and rows of the studies that are new or changed, one at a time."""
    yield {}, {}  # Kedro looks at the first chunk, and there may be no other
    due = quality_report.studies_due(conversion_manifest, nifti, quality_rows_done, quality_thumbnails_done)
    for row, picture in quality_report.examine_all(due, workers):
        yield ({row["study_key"]: picture} if picture else {}), {row["study_key"]: row}


def judge_studies(conversion_manifest: pd.DataFrame, quality_rows: Rows, config: QualityConfig) -> pd.DataFrame:
    """The quality table."""
    return quality_report.quality_table(conversion_manifest, quality_rows, config)


def draw_montage(quality_table: pd.DataFrame, quality_thumbnails: Pictures, config: QualityConfig) -> Figure:
    """The worst studies on one figure."""
    from hyperct_pipeline.volumes.quality_montage import quality_montage

    return quality_montage(quality_table, quality_thumbnails, config)


def write_pages(quality_table: pd.DataFrame, quality_thumbnails: Pictures, config: QualityConfig) -> Pictures:
    """All studies on HTML pages, made one after the other as they are saved."""
    return quality_page.quality_pages(quality_table, quality_thumbnails, config)
