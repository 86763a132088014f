import gzip
import hashlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from hyperct_pipeline.errors import StoreError
from hyperct_pipeline.volumes.nifti_file import read_nifti, write_nifti
from hyperct_pipeline.volumes.volume import ScalarVolume, Volume

HU = np.random.default_rng(1).integers(-1024, 1500, (5, 4, 6)).astype(np.int16)
AFFINE = np.array([[0.7, 0.01, 0, -20], [-0.01, 0.7, 0, 5], [0, 0, 2.5, -300], [0, 0, 0, 1.0]])


@pytest.mark.parametrize("level", [1, 3, 6, 9])
def test_same_content_as_nibabel_writes(tmp_path: Path, level: int) -> None:
    volume = Volume(HU, AFFINE)
    written = write_nifti(volume, tmp_path / "a.nii.gz", level)
    content = (tmp_path / "a.nii.gz").read_bytes()
    assert (written.size, written.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    plain = nib.Nifti1Image(HU.T, volume.affine)
    plain.header.set_slope_inter(1, 0)
    plain.header.set_xyzt_units("mm")
    plain.set_sform(volume.affine, code="scanner")
    plain.set_qform(volume.affine, code="scanner")
    assert gzip.decompress(content) == plain.to_bytes()
    assert content[4:8] == b"\0" * 4 and content[3] == 0  # no time, no name


def test_voxels_affine_and_empty_texts(tmp_path: Path) -> None:
    write_nifti(Volume(HU[:, ::-1], AFFINE), tmp_path / "a.nii.gz", 3)  # not contiguous
    back = read_nifti(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(back.hu, HU[:, ::-1])
    np.testing.assert_allclose(back.affine, AFFINE, atol=1e-5)
    header = nib.load(tmp_path / "a.nii.gz").header
    assert all(not bytes(header[text]).strip(b"\0") for text in ("descrip", "aux_file", "db_name", "intent_name"))
    assert [file.name for file in tmp_path.iterdir()] == ["a.nii.gz"]


def test_nifti_is_what_other_readers_expect(tmp_path: Path) -> None:
    write_nifti(Volume(HU, AFFINE), tmp_path / "v.nii.gz")
    image = nib.load(tmp_path / "v.nii.gz")
    np.testing.assert_array_equal(np.asarray(image.dataobj), HU.T)  # (x, y, z)
    np.testing.assert_allclose(image.affine, AFFINE, rtol=1e-6)
    header = image.header
    assert header.get_data_dtype() == np.int16 and header.get_xyzt_units()[0] == "mm"
    assert (header["qform_code"], header["sform_code"]) == (1, 1)
    assert bytes(header["descrip"]).strip(b"\0") == b"" and bytes(header["aux_file"]).strip(b"\0") == b""


def test_round_trip_and_same_bytes_under_any_name(tmp_path: Path) -> None:
    volume = Volume(HU, AFFINE)
    write_nifti(volume, tmp_path / "a.nii.gz", gzip_level=3)
    write_nifti(volume, tmp_path / "b.nii.gz", gzip_level=3)
    write_nifti(volume, tmp_path / "c.nii")
    content = (tmp_path / "a.nii.gz").read_bytes()
    assert content == (tmp_path / "b.nii.gz").read_bytes()
    assert gzip.decompress(content) == (tmp_path / "c.nii").read_bytes()
    again = read_nifti(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(again.hu, HU)
    np.testing.assert_allclose(again.affine, AFFINE, rtol=1e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nii.gz", "b.nii.gz", "c.nii"]


def test_scalar_volume_keeps_float_and_nan(tmp_path: Path) -> None:
    values = HU.astype(np.float32) / 7
    values[0, 0, 0] = np.nan
    write_nifti(ScalarVolume(values, AFFINE), tmp_path / "s.nii.gz")
    np.testing.assert_array_equal(nib.load(tmp_path / "s.nii.gz").get_fdata(dtype=np.float32), values.T)


def test_foreign_float_nifti_is_rounded(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(HU.T + np.float32(0.3), AFFINE), tmp_path / "f.nii.gz")
    np.testing.assert_array_equal(read_nifti(tmp_path / "f.nii.gz").hu, HU)


@pytest.mark.parametrize("kind", ["absent", "cut", "no gzip", "four axes", "not finite", "too large"])
def test_what_is_no_ct_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.nii.gz"
    values = HU.T.astype(np.float32)
    if kind == "cut":
        write_nifti(Volume(HU, AFFINE), path)
        path.write_bytes(path.read_bytes()[:-40])
    elif kind == "no gzip":
        path.write_bytes(b"nothing" * 100)
    elif kind != "absent":
        values[0, 0, 0] = {"four axes": 0, "not finite": np.nan, "too large": 40000}[kind]
        nib.save(nib.Nifti1Image(values[..., None] if kind == "four axes" else values, AFFINE), path)
    with pytest.raises(StoreError, match=r"x\.nii\.gz"):
        read_nifti(path)
