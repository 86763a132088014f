import gzip
import hashlib
import os
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from hyperct_pipeline.dicom.volume_file import remove_abandoned, write_volume
from hyperct_pipeline.volumes.volume import Volume, read_nifti, write_nifti

HU = np.random.default_rng(1).integers(-1024, 1500, (5, 4, 6)).astype(np.int16)
AFFINE = np.array([[0.7, 0.01, 0, -20], [-0.01, 0.7, 0, 5], [0, 0, 2.5, -300], [0, 0, 0, 1.0]])


@pytest.mark.parametrize("level", [1, 3, 6, 9])
def test_same_content_as_the_plain_writer(tmp_path: Path, level: int) -> None:
    volume = Volume(HU, AFFINE)
    written = write_volume(volume, tmp_path / "a.nii.gz", level)
    content = (tmp_path / "a.nii.gz").read_bytes()
    assert (written.size, written.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    write_nifti(volume, tmp_path / "b.nii.gz")
    plain = gzip.decompress((tmp_path / "b.nii.gz").read_bytes())
    assert gzip.decompress(content) == plain
    assert content[4:8] == b"\0" * 4 and content[3] == 0  # no time, no name


def test_voxels_affine_and_empty_texts(tmp_path: Path) -> None:
    write_volume(Volume(HU[:, ::-1], AFFINE), tmp_path / "a.nii.gz", 3)  # not contiguous
    back = read_nifti(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(back.hu, HU[:, ::-1])
    np.testing.assert_allclose(back.affine, AFFINE, atol=1e-5)
    header = nib.load(tmp_path / "a.nii.gz").header
    assert all(not bytes(header[text]).strip(b"\0") for text in ("descrip", "aux_file", "db_name", "intent_name"))
    assert [file.name for file in tmp_path.iterdir()] == ["a.nii.gz"]


def test_only_drafts_that_nobody_writes_any_more_are_removed(tmp_path: Path) -> None:
    for name, age_s in ((".tmp-1-a.nii.gz", 100), (".tmp-2-b.nii.gz", 5), ("c.nii.gz", 100)):
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    remove_abandoned(tmp_path, older_than_s=50)
    assert sorted(file.name for file in tmp_path.iterdir()) == [".tmp-2-b.nii.gz", "c.nii.gz"]
