"""Series of real scanners with one fault each: the right volume or a named refusal, never a wrong volume."""

import csv
import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hyperct_pipeline.dicom.conversion import Row, convert_series
from hyperct_pipeline.dicom.index import index_series
from hyperct_pipeline.dicom.selection import select_series
from hyperct_pipeline.pseudonyms import DEMO_SECRET, Pseudonyms
from hyperct_pipeline.volumes.nifti_file import read_nifti

# case -> warnings of the volume
CONVERTED = {
    "d20_mut_baseline": "",
    "d20_mut_deep_odd_names": "",
    "d20_mut_dup_file": "DUPLICATE_SOP",
    "d20_mut_intercept_varies": "RESCALE_VARIES",
    "d20_mut_junk_files": "NOT_DICOM_FILES",
    "d20_mut_localizer_in_series": "LOCALIZER_DROPPED",
    "d20_mut_patient_position_HFP": "ORIENTATION_NOT_LPS",
    "d20_mut_phi_canaries": "",
    "d20_mut_shuffled_names": "",
    "d20_mut_spacing_jitter": "",
    "d20_mut_ts_bigendian": "",
    "d20_mut_ts_deflated": "",
    "d20_mut_ts_jpegls": "",
    "d20_mut_ts_rle": "",
    "d20_mut_two_acquisitions": "MULTIPLE_ACQUISITIONS",
    "d20_mut_two_series_one_folder": "",
    "d20_mut_uids_blank": "MISSING_UID",
    "d02_lungfcp_thorax_overlap": "IMAGETYPE_MISSING",
    "d07_totalseg_blank_uids": "CONTRAST;MISSING_PATIENT_ID;MISSING_UID",
}
# case -> a reason of its largest series
REFUSED = {
    "d20_mut_derived_mip": "DERIVED",
    "d20_mut_dup_position": "DUPLICATE_POSITION",
    "d20_mut_enhanced_multiframe": "MULTIFRAME",
    "d20_mut_matrix_differs": "MATRIX_VARIES",
    "d20_mut_missing_block": "MISSING_SLICE",
    "d20_mut_missing_slice": "MISSING_SLICE",
    "d20_mut_no_pixel_data": "NO_PIXEL_DATA",
    "d20_mut_no_rescale": "NO_RESCALE",
    "d20_mut_truncated": "TRUNCATED_FILE",
    "d20_mut_two_kernels_one_series": "MIXED_RECONSTRUCTIONS",
    "d20_mut_two_slices": "TOO_FEW_SLICES",
    "d20_mut_variable_spacing": "VARIABLE_SPACING",
    "d03_nysbu_A098752": "TOO_FEW_SLICES",
    "d04_ts_helical_chest": "TOO_FEW_SLICES",
    "d05_d2n_gantrytilt": "GANTRY_TILT",
    "d06_d2n_sliceincrement001": "MISSING_SLICE",
    "d08_philips_phantom_study": "NOT_CHEST",
    "d09_eCT_perfusion_multiframe": "DERIVED",
    "d10_acrin013_petct": "DERIVED",
}


@pytest.fixture
def cases(test_data: Path) -> Path:
    return test_data / "dicom"


@pytest.fixture
def lenient(config):
    return replace(config, allow_contrast=True)


def reference(cases: Path, case: str) -> dict[str, str]:
    """The longest series of a case as measured with pydicom alone."""
    with (cases / "manifest.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["path"].split("/")[0] == case]
    return max(rows, key=lambda row: int(row["n_slices"]))


def convert(folder: Path, nifti: Path, config) -> Row:
    _, (chosen,) = select_series(index_series(folder), Pseudonyms(DEMO_SECRET), config)
    return convert_series(chosen, nifti, config)


def assert_equals_reference(file: Path, expected: dict[str, str]) -> None:
    volume = read_nifti(file)
    x, y, z = map(int, expected["ref_ras_shape"].split("x"))
    assert volume.hu.shape == (z, y, x)
    np.testing.assert_allclose(volume.affine, json.loads(expected["ref_ras_affine"]), atol=0.011)
    assert volume.hu.min() == float(expected["hu_min"]) and volume.hu.max() == float(expected["hu_max"])
    assert volume.hu.mean() == pytest.approx(float(expected["hu_mean"]), abs=1e-3)


@pytest.mark.parametrize("case", CONVERTED)
def test_converted(cases: Path, tmp_path: Path, lenient, case: str) -> None:
    row = convert(cases / case, tmp_path, lenient)
    assert (row["status"], row["warnings"]) == ("converted", CONVERTED[case])
    # where the reference kept a doubled slice or stack, the undisturbed series is the truth
    doubled = {"d20_mut_dup_file", "d20_mut_two_acquisitions"}
    assert_equals_reference(tmp_path / row["nifti"], reference(cases, "d20_mut_baseline" if case in doubled else case))


@pytest.mark.parametrize("case", REFUSED)
def test_refused(cases: Path, lenient, case: str) -> None:
    index, chosen = select_series(index_series(cases / case), Pseudonyms(DEMO_SECRET), lenient)
    assert chosen == []
    largest = index[index["n_instances"] == index["n_instances"].max()]
    assert REFUSED[case] in {code for reasons in largest["reason_codes"] for code in reasons.split(";")}


def test_every_small_case_has_an_expectation(cases: Path) -> None:
    known = {*CONVERTED, *REFUSED, "d30_study_ge_style", "d01_lidc0001_fullchest_ge_jpegls"}
    assert {path.name for path in cases.iterdir() if path.is_dir()} == known


def test_study_of_eight_series(cases: Path, config) -> None:
    index, (chosen,) = select_series(index_series(cases / "d30_study_ge_style"), Pseudonyms(DEMO_SECRET), config)
    assert {Path(header.path).parent.name for header in chosen.source.headers} == {"S002"}
    assert sorted(index["reason_codes"]) == [
        "", "CONTRAST", "DERIVED", "DERIVED;NOT_AXIAL", "DERIVED;NO_GEOMETRY", "KERNEL_LUNG",
        "LOCALIZER;NOT_AXIAL;TOO_FEW_SLICES", "THICK",
    ]  # fmt: skip


def test_canaries_of_a_real_header_reach_no_output(cases: Path, tmp_path: Path, config) -> None:
    index, chosen = select_series(index_series(cases / "d20_mut_phi_canaries"), Pseudonyms(DEMO_SECRET), config)
    row = convert_series(chosen[0], tmp_path, config)
    assert row["status"] == "converted"
    content = gzip.decompress((tmp_path / row["nifti"]).read_bytes())
    assert "canary" not in (index.to_csv() + repr(row) + repr(chosen)).lower()
    assert b"canary" not in content.lower()


def test_contrast_is_refused_unless_allowed(cases: Path, config) -> None:
    index, chosen = select_series(
        index_series(cases / "d01_lidc0001_fullchest_ge_jpegls"), Pseudonyms(DEMO_SECRET), config
    )
    assert chosen == [] and list(index["reason_codes"]) == ["CONTRAST"]


@pytest.mark.slow
def test_full_chest_with_jpeg_ls_and_signed_padding(cases: Path, tmp_path: Path, lenient) -> None:
    case = "d01_lidc0001_fullchest_ge_jpegls"
    row = convert(cases / case, tmp_path, lenient)
    assert row["warnings"] == "CONTRAST"
    assert_equals_reference(tmp_path / row["nifti"], reference(cases, case))
