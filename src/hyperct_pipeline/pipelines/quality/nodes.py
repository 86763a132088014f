"""Nodes of `quality`: a verdict per converted volume, and a page to look at."""

from collections.abc import Callable, Mapping

import pandas as pd
from matplotlib.figure import Figure

from hyperct_pipeline.volumes import quality_report
from hyperct_pipeline.volumes.quality import QualityConfig
from hyperct_pipeline.volumes.volume import Volume


def judge_volumes(
    conversion_manifest: pd.DataFrame, nifti: Mapping[str, Callable[[], Volume]], config: QualityConfig
) -> pd.DataFrame:
    """The quality table."""
    return quality_report.quality_table(conversion_manifest, nifti, config)


def draw_montage(
    quality_table: pd.DataFrame, nifti: Mapping[str, Callable[[], Volume]], config: QualityConfig
) -> Figure:
    """The page of mid-slices."""
    return quality_report.quality_montage(quality_table, nifti, config)
