"""Quality of a whole archive: a table with one row per converted study, and a page of images to skim."""

import logging
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hyperct_pipeline.errors import StoreError
from hyperct_pipeline.volumes.progress import Progress
from hyperct_pipeline.volumes.quality import ACCEPT, CHECKS, REJECT, WARN, Quality, QualityConfig, judge
from hyperct_pipeline.volumes.volume import Volume

logger = logging.getLogger(__name__)

# Names and (low, high) HU of the windows radiologists use.
WINDOWS_HU = {"lung": (-1350, 150), "mediastinum": (-160, 240)}
_COLUMN_TYPES = {
    "study_key": "string",
    "verdict": "string",  # accept / warn / reject
    "reason_codes": "string",  # joined by ";"
    "output_sha256": "string",  # of the volume that was judged
    **dict.fromkeys(CHECKS, "Float64"),  # null where the volume could not be read
}

LazyVolumes = Mapping[str, Callable[[], Volume]]


def quality_table(manifest: pd.DataFrame, volumes: LazyVolumes, config: QualityConfig) -> pd.DataFrame:
    """One row per converted study of the manifest, in its order."""
    converted = manifest[manifest["status"] == "converted"]
    progress = Progress("quality", len(converted))
    rows = []
    for key, sha256 in zip(converted["study_key"], converted["output_sha256"], strict=True):
        try:
            quality = judge(volumes[key](), config)
        except StoreError:
            quality = Quality({}, REJECT, ("NIFTI_UNREADABLE",))
        progress.count(usable=quality.verdict != REJECT)
        rows.append(
            {
                "study_key": key,
                "verdict": quality.verdict,
                "reason_codes": ";".join(quality.reasons),
                "output_sha256": sha256,
                **quality.numbers,
            }
        )
    table = pd.DataFrame(rows, columns=list(_COLUMN_TYPES)).astype(_COLUMN_TYPES)
    logger.info("Verdicts: %s", table["verdict"].value_counts().to_dict())
    return table


def quality_montage(table: pd.DataFrame, volumes: LazyVolumes, config: QualityConfig) -> Figure:
    """Axial and coronal mid-slices of the worst studies, each in the lung and the mediastinal window."""
    order = table["verdict"].map({REJECT: 0, WARN: 1, ACCEPT: 2})
    readable = table[table["slice_count"].notna()]
    shown = readable.assign(order=order).sort_values(["order", "study_key"]).head(config.montage_studies)
    columns = min(4, max(1, len(shown)))
    rows = max(1, -(-len(shown) // columns))
    figure = Figure(figsize=(3.2 * columns, 3.4 * rows), layout="constrained")
    figure.suptitle(f"{len(shown)} of {len(table)} studies, problems first")
    for place, study in enumerate(shown.itertuples(), start=1):
        axes = figure.add_subplot(rows, columns, place)
        axes.imshow(_four_views(volumes[str(study.study_key)]()), cmap="gray", vmin=0, vmax=1)
        axes.set_axis_off()
        reasons = str(study.reason_codes).replace(";", "\n")
        axes.set_title(f"{study.study_key}\n{study.verdict} {reasons}", fontsize=6)
    return figure


def _four_views(volume: Volume) -> NDArray[np.float64]:
    """Axial above coronal, lung window beside mediastinal, in [0, 1]; front and head up, right on the left."""
    depth, height, _ = volume.hu.shape
    axial = volume.hu[depth // 2, ::-1]
    # slices are repeated or left out so that a millimetre is as high as it is wide
    spacing_z, _, spacing_x = volume.spacing_mm
    rows = np.arange(0, depth * spacing_z, spacing_x) / spacing_z
    coronal = volume.hu[rows.astype(int)[::-1], height // 2]
    both = np.concatenate([axial, coronal])
    views = [np.clip((both - low) / (high - low), 0, 1) for low, high in WINDOWS_HU.values()]
    return np.concatenate([view[:, ::-1] for view in views], axis=1)
