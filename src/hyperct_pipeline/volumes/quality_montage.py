"""One figure of the worst studies, for MLflow and Kedro-Viz; the HTML pages show all of them."""

from collections.abc import Callable, Mapping

import pandas as pd
from matplotlib.figure import Figure

from hyperct_pipeline.errors import StoreError
from hyperct_pipeline.volumes.quality import QualityConfig
from hyperct_pipeline.volumes.quality_report import worst_first
from hyperct_pipeline.volumes.thumbnail import pixels


def quality_montage(table: pd.DataFrame, pictures: Mapping[str, Callable[[], bytes]], config: QualityConfig) -> Figure:
    """Thumbnails of the worst studies that could be read; only these are loaded."""
    shown = worst_first(table[table["slice_count"].notna()]).head(config.montage_studies)
    columns = min(4, max(1, len(shown)))
    rows = max(1, -(-len(shown) // columns))
    figure = Figure(figsize=(3.2 * columns, 3.4 * rows), layout="constrained")
    figure.suptitle(f"{len(shown)} of {len(table)} studies, problems first")
    for place, study in enumerate(shown.itertuples(), start=1):
        axes = figure.add_subplot(rows, columns, place)
        try:
            axes.imshow(pixels(pictures[str(study.study_key)]()), cmap="gray", vmin=0, vmax=1)
        except StoreError as error:
            axes.text(0.5, 0.5, str(error), ha="center", va="center", wrap=True)
        axes.set_axis_off()
        reasons = str(study.reason_codes).replace(";", "\n")
        axes.set_title(f"{study.study_key}\n{study.verdict} {reasons}", fontsize=6)
    return figure
