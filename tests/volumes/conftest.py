"""A box-shaped patient and a folder to keep NIfTI files of patients in."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hyperct_pipeline.volumes.converted import NiftiFile
from hyperct_pipeline.volumes.nifti_file import write_nifti
from hyperct_pipeline.volumes.volume import Volume


@pytest.fixture
def patient() -> Volume:
    """60 x 80 x 100 voxels in RAS: body, spine at the back, two lungs that start above a liver on the right."""
    hu = np.full((60, 80, 100), -1000, dtype=np.int16)
    hu[:, 15:65, 10:90] = -100  # fat
    hu[:, 18:24, 45:55] = 700  # spine
    for left in (20, 60):
        hu[15:55, 30:55, left : left + 22] = -830
    hu[:14, 30:60, 50:85] = 60  # liver
    hu[20:45, 35:60, 42:58] = 40  # heart
    return Volume(hu, np.diag([4.0, 4.0, 5.0, 1.0]))


@pytest.fixture
def files(tmp_path: Path) -> Callable[..., dict[str, NiftiFile]]:
    """Writes volumes as `<key>.nii.gz` and gives their files by key."""

    def written(**volumes: Volume) -> dict[str, NiftiFile]:
        found = {key: NiftiFile(tmp_path / "nifti" / f"{key}.nii.gz") for key in volumes}
        for key, volume in volumes.items():
            write_nifti(volume, found[key].path)
        return found

    return written


@pytest.fixture
def manifest_of() -> Callable[..., pd.DataFrame]:
    """Makes the conversion manifest of volumes, with one refused study at its end."""

    def made(**volumes: Volume) -> pd.DataFrame:
        common = {"warnings": "", "scanner": "ACME CT1"}
        converted = [
            {"study_key": key, "status": "converted", "content_sha256": volume.digest(), **common}
            for key, volume in volumes.items()
        ]
        return pd.DataFrame([*converted, {"study_key": "zz", "status": "refused", "content_sha256": None, **common}])

    return made
