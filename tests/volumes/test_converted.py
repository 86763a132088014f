import pickle
from pathlib import Path

import numpy as np
import pytest

from hyperct_pipeline.volumes.converted import REMEDIES, ConvertedVolumeError, NiftiFile, converted_volume
from hyperct_pipeline.volumes.nifti_file import write_nifti
from hyperct_pipeline.volumes.volume import Volume

VOLUME = Volume(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.diag([0.7, 0.8, 2.5, 1.0]))


@pytest.fixture
def file(tmp_path: Path) -> NiftiFile:
    write_nifti(VOLUME, tmp_path / "a.nii.gz")
    return NiftiFile(tmp_path / "a.nii.gz")


def reason(file: NiftiFile | None, sha256: str = VOLUME.digest()) -> str:
    with pytest.raises(ConvertedVolumeError) as error:
        converted_volume(file, sha256)
    assert str(error.value) in REMEDIES
    return str(error.value)


def test_the_volume_of_the_manifest(file: NiftiFile) -> None:
    np.testing.assert_array_equal(converted_volume(file, VOLUME.digest()).hu, VOLUME.hu)
    assert pickle.loads(pickle.dumps(file)) == file
    assert file.n_bytes == file.path.stat().st_size


def test_another_volume_under_the_same_name(file: NiftiFile) -> None:
    write_nifti(Volume(VOLUME.hu + np.int16(1), VOLUME.affine), file.path)
    assert reason(file) == "NIFTI_CHANGED"


def test_the_same_voxels_in_another_place(file: NiftiFile) -> None:
    write_nifti(Volume(VOLUME.hu, np.diag([0.7, 0.8, 2.6, 1.0])), file.path)
    assert reason(file) == "NIFTI_CHANGED"


def test_damaged_and_absent_files(file: NiftiFile) -> None:
    file.path.write_bytes(file.path.read_bytes()[:-20])
    assert reason(file) == "NIFTI_UNREADABLE"
    file.path.unlink()
    assert reason(file) == reason(None) == "NIFTI_MISSING"
    assert file.n_bytes is None
