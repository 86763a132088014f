import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hyperct_pipeline.errors import StoreError
from hyperct_pipeline.volumes.quality import CHECKS, Limits, QualityConfig
from hyperct_pipeline.volumes.quality_report import quality_montage, quality_table
from hyperct_pipeline.volumes.volume import Volume

CONFIG = QualityConfig(limits={"lung_share": Limits(warn_below=0.2, reject_below=0.1)}, montage_studies=2)


def volume(lung_share: float) -> Volume:
    hu = np.zeros((6, 10, 10), dtype=np.int16)
    hu.reshape(-1)[: round(lung_share * hu.size)] = -800
    return Volume(hu, np.diag([1.0, 1.0, 2.0, 1.0]))


def broken() -> Volume:
    raise StoreError("damaged")


MANIFEST = pd.DataFrame(
    {
        "study_key": ["a", "b", "c", "d", "e"],
        "status": ["converted", "converted", "refused", "converted", "converted"],
        "output_sha256": ["1", "2", None, "4", "5"],
    }
)
VOLUMES = {"a": lambda: volume(0.5), "b": lambda: volume(0.15), "d": lambda: volume(0.05), "e": broken}


def test_one_row_per_converted_study() -> None:
    table = quality_table(MANIFEST, VOLUMES, CONFIG).set_index("study_key")
    assert table["verdict"].to_dict() == {"a": "accept", "b": "warn", "d": "reject", "e": "reject"}
    assert table["reason_codes"].to_dict() == {
        "a": "", "b": "LOW_LUNG_SHARE", "d": "LOW_LUNG_SHARE", "e": "NIFTI_UNREADABLE",
    }  # fmt: skip
    assert table["output_sha256"].to_dict() == {"a": "1", "b": "2", "d": "4", "e": "5"}
    assert table.loc["a", "slice_count"] == 6 and table.loc["e", list(CHECKS)].isna().all()


def test_montage_shows_the_worst_first() -> None:
    table = quality_table(MANIFEST, VOLUMES, CONFIG)
    figure = quality_montage(table, VOLUMES, CONFIG)
    assert isinstance(figure, Figure)
    assert [axes.get_title().split()[0] for axes in figure.axes] == ["d", "b"]
    image = figure.axes[0].images[0].get_array()
    assert image.shape == (10 + 12, 2 * 10)  # axial above coronal (12 mm in 1 mm pixels), two windows


def test_montage_of_an_empty_archive() -> None:
    table = quality_table(MANIFEST.iloc[2:3], {}, CONFIG)
    assert table.empty and quality_montage(table, {}, CONFIG).axes == []
