import gzip
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from hyperct_pipeline.dicom.conversion import ConvertConfig, convert_series
from hyperct_pipeline.dicom.decisions import Decisions, decisions_of
from hyperct_pipeline.dicom.nifti_cohort import NiftiCohort, NiftiCohortConfig
from hyperct_pipeline.dicom.nifti_selection import select_volumes
from hyperct_pipeline.errors import ConfigError
from hyperct_pipeline.pseudonyms import DEMO_SECRET, Pseudonyms
from hyperct_pipeline.volumes.nifti_file import read_nifti

PSEUDONYMS = Pseudonyms(DEMO_SECRET)
HU = np.random.default_rng(5).integers(-1024, 1500, (7, 5, 6)).astype(np.int16)  # x, y, z
SHEARED = np.array([[-0.7, 0.5, 0, 10], [0, -0.8, 0, 20], [0, 0, 2.5, -300], [0, 0, 0, 1.0]])
LPS = np.array([[-0.7, 0, 0, 10], [0, -0.8, 0, 20], [0, 0, 2.5, -300], [0, 0, 0, 1.0]])


def write(file: Path, values=HU, affine=LPS, slope=np.nan, intercept=np.nan, code: int = 1) -> Path:
    """A file whose header may say what nibabel would refuse to write."""
    file.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(values, LPS)
    image.header["descrip"] = b"CANARY"
    image.set_sform(LPS, code=code)
    image.set_qform(None, code=0)
    content = bytearray(image.to_bytes())
    content[112:120] = np.array([slope, intercept], "<f4").tobytes()
    content[280:328] = np.asarray(affine[:3], "<f4").tobytes()
    file.write_bytes(gzip.compress(content) if file.suffix == ".gz" else content)
    return file


def select(archive: Path, config: ConvertConfig, names: list[str], decisions=None, **columns):
    table = pd.DataFrame({"VolumeName": names, **columns})
    return select_volumes(NiftiCohort(archive, table, config.nifti), PSEUDONYMS, config, decisions or Decisions())


def row_of(tmp_path: Path, config: ConvertConfig) -> dict:
    """The row of the only volume, or its refusal."""
    index, chosen = select(tmp_path / "a", config, ["train_1_a_1.nii.gz"])
    if not chosen:
        return {"status": "refused", "reason_codes": index["reason_codes"][0]}
    return convert_series(chosen[0], tmp_path / "out", config)


def test_volume_becomes_ras_under_the_key_of_its_study(tmp_path: Path, config) -> None:
    write(tmp_path / "a" / "train_1" / "train_1_a_1.nii.gz")
    index, (chosen,) = select(
        tmp_path / "a",
        config,
        ["train_1_a_1.nii.gz"],
        PatientSex=["Female"],
        PatientAge=["063Y"],
        Manufacturer=["SIEMENS"],
    )
    row = convert_series(chosen, tmp_path / "out", config)
    assert chosen.key == PSEUDONYMS.study_key("train_1_a")
    assert index.loc[0, ["patient_key", "sex", "age_years", "scanner"]].to_list() == [
        PSEUDONYMS.patient_key("train_1"), "F", 63.0, "SIEMENS",
    ]  # fmt: skip
    volume = read_nifti(tmp_path / "out" / row["nifti"])
    np.testing.assert_array_equal(volume.hu, HU.T[:, ::-1, ::-1])
    np.testing.assert_allclose(np.diag(volume.affine)[:3], [0.7, 0.8, 2.5], rtol=1e-6)
    assert (row["status"], row["warnings"], row["shape"]) == ("converted", "ORIENTATION_NOT_RAS", "6;5;7")
    content = (tmp_path / "a" / "train_1" / "train_1_a_1.nii.gz").read_bytes()
    assert b"CANARY" in gzip.decompress(content)
    assert b"CANARY" not in gzip.decompress((tmp_path / "out" / row["nifti"]).read_bytes())


def test_reconstructions_of_a_study_are_ranked(tmp_path: Path, config) -> None:
    thick = LPS * [1, 1, 2, 1]
    for name, affine in (("train_1_a_1", thick), ("train_1_a_2", LPS), ("train_1_b_1", thick)):
        write(tmp_path / "a" / f"{name}.nii.gz", affine=affine)
    write(tmp_path / "a" / "unnamed.nii.gz")
    names = ["train_1_a_1", "train_1_a_2", "train_1_b_1", "train_2_a_1"]
    index, chosen = select(tmp_path / "a", config, names, Kernel=["", "", "", ""])
    assert {series.key for series in chosen} == {PSEUDONYMS.study_key(s) for s in ("train_1_a", "train_1_b")}
    assert sorted(index["reason_codes"]) == ["", "", "NIFTI_MISSING", "THICK"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"values": HU[..., None].repeat(2, 3)}, "NOT_3D"),
        ({"values": HU.astype(np.complex64)}, "BAD_PIXEL_FORMAT"),
        ({"code": 0}, "NO_GEOMETRY"),
        ({"affine": LPS * [1, 1, 0, 1]}, "NO_GEOMETRY"),
        ({"affine": SHEARED}, "NO_GEOMETRY"),
        ({"affine": LPS * [1, 1, 40, 1]}, "NO_GEOMETRY"),
        ({"values": HU[:, :, :2]}, "TOO_FEW_SLICES"),
        ({"values": np.where(HU > 0, np.nan, HU).astype(np.float32)}, "HU_OUT_OF_RANGE"),
        ({"values": HU.astype(np.float32) * 100}, "HU_OUT_OF_RANGE"),
        ({"values": (HU.astype(np.int32) + 1024).astype(np.int16)}, "HU_IMPLAUSIBLE"),
        ({"slope": 1e-9, "intercept": 0.0}, "BAD_RESCALE"),
        ({"slope": 1.0, "intercept": np.nan}, "BAD_RESCALE"),
        ({"slope": np.inf, "intercept": 0.0}, "BAD_RESCALE"),
    ],
)
def test_volume_that_cannot_be_used(tmp_path: Path, config, change: dict, reason: str) -> None:
    write(tmp_path / "a" / "train_1_a_1.nii.gz", **change)
    row = row_of(tmp_path, config)
    assert row["status"] != "converted" and row["reason_codes"] == reason


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, -1024.0), (0.5, -1024.0), (0.0, 0.0), (np.nan, np.nan)])
def test_rescale_of_the_header_is_applied(tmp_path: Path, config, slope: float, intercept: float) -> None:
    stored = HU if not slope > 0 else np.rint((HU - intercept) / slope).astype(np.int16)
    write(tmp_path / "a" / "train_1_a_1.nii.gz", values=stored, slope=slope, intercept=intercept)
    row = row_of(tmp_path, config)
    assert row["status"] == "converted"
    np.testing.assert_array_equal(read_nifti(tmp_path / "out" / row["nifti"]).hu, HU.T[:, ::-1, ::-1])


@pytest.mark.parametrize(
    "damage",
    [
        lambda c: b"",
        lambda c: c[:40],
        lambda c: c[:-1],
        lambda c: c[: len(c) // 2],
        lambda c: b"junk" * 100,
        lambda c: c[:-6] + bytes([c[-6] ^ 1]) + c[-5:],
        lambda c: gzip.compress(gzip.decompress(c)[:-2]),
        lambda c: gzip.compress(gzip.decompress(c) + bytes(100_000_000)),
        lambda c: gzip.compress(b"\x00" * 400),
    ],
    ids=["empty", "head", "last byte", "half", "junk", "checksum", "short", "bomb", "zeros"],
)
def test_damaged_file(tmp_path: Path, config, damage) -> None:
    file = write(tmp_path / "a" / "train_1_a_1.nii.gz")
    file.write_bytes(damage(file.read_bytes()))
    row = row_of(tmp_path, config)
    assert row["status"] != "converted" and row["reason_codes"] in ("NIFTI_UNREADABLE", "NOT_3D")


def test_uncompressed_file_and_foreign_name(tmp_path: Path, config) -> None:
    write(tmp_path / "a" / "Case 7.nii")
    _, (chosen,) = select(tmp_path / "a", config, ["Case 7"])
    assert chosen.key == PSEUDONYMS.study_key("Case 7")
    assert convert_series(chosen, tmp_path / "out", config)["status"] == "converted"


def test_rules_and_decisions_hold_for_volumes_too(tmp_path: Path, config) -> None:
    for name in ("train_1_a_1", "train_2_a_1", "train_3_a_1"):
        write(tmp_path / "a" / f"{name}.nii.gz")
    names = ["train_1_a_1", "train_2_a_1", "train_3_a_1"]
    decisions = decisions_of(pd.DataFrame({"id": ["train_1_a"]}), pd.DataFrame())
    texts = ["", "CT head", "Chest +C"]
    index, chosen = select(tmp_path / "a", config, names, decisions, SeriesDescription=texts)
    assert chosen == [] and sorted(index["reason_codes"]) == ["CONTRAST", "EXCLUDED", "NOT_CHEST"]
    index, chosen = select(tmp_path / "a", replace(config, allow_contrast=True), names[2:], SeriesDescription=texts[2:])
    assert chosen[0].warnings == ("CONTRAST",)


def test_table_without_names_and_pattern_without_groups(tmp_path: Path, config) -> None:
    with pytest.raises(ConfigError, match="no column 'VolumeName'"):
        NiftiCohort(tmp_path, pd.DataFrame({"CANARY": ["1"]}), config.nifti)
    with pytest.raises(ValueError, match="groups 'study' and 'patient'"):
        NiftiCohortConfig(name_pattern="(.*)")
