import gzip
import hashlib
import io
import logging
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from hyperct_pipeline.dicom import decoding
from hyperct_pipeline.dicom.conversion import ConvertConfig, Row, convert_all, convert_series
from hyperct_pipeline.dicom.gate import GateConfig, stack_affine
from hyperct_pipeline.dicom.index import index_series
from hyperct_pipeline.dicom.selection import ChosenSeries, select_series
from hyperct_pipeline.errors import ArchiveError, StoreError
from hyperct_pipeline.pseudonyms import DEMO_SECRET, Pseudonyms
from hyperct_pipeline.study_workers import WorkersConfig
from hyperct_pipeline.volumes.nifti_file import read_nifti
from hyperct_pipeline.volumes.volume import Volume

PSEUDONYMS = Pseudonyms(DEMO_SECRET)
HU = np.random.default_rng(7).integers(-1024, 1500, (5, 4, 6)).astype(np.int16)


def choose(archive: Path, config: ConvertConfig) -> ChosenSeries:
    _, (chosen,) = select_series(index_series(archive), PSEUDONYMS, config)
    return chosen


@dataclass(frozen=True)
class Result:
    row: Row
    volume: Volume | None


def convert(archive: Path, config: ConvertConfig) -> Result:
    return finish(choose(archive, config), archive, config)


def finish(chosen: ChosenSeries, archive: Path, config: ConvertConfig) -> Result:
    row = convert_series(chosen, archive.parent / "nifti", config)
    return Result(row, read_nifti(archive.parent / "nifti" / row["nifti"]) if row["status"] == "converted" else None)


@pytest.mark.parametrize("signed", [True, False])
def test_voxels_and_affine_in_ras(write_series, tmp_path: Path, config, signed: bool) -> None:
    write_series(HU, signed=signed)
    result = convert(tmp_path / "archive", config)
    # the file has x to the left and y to the back, RAS wants both the other way
    np.testing.assert_array_equal(result.volume.hu, HU[:, ::-1, ::-1])
    # corner nearest to right, back, foot: last column and row of the first file, LPS -> RAS
    expected = [[0.75, 0, 0, 20 - 5 * 0.75], [0, 1.5, 0, 30 - 3 * 1.5], [0, 0, 2.5, -100], [0, 0, 0, 1]]
    np.testing.assert_allclose(result.volume.affine, expected, atol=1e-12)
    assert result.row["shape"] == "5;4;6" and result.row["spacing_mm"] == "2.5;1.5;0.75"
    assert (result.row["hu_min"], result.row["hu_max"]) == (HU.min(), HU.max())
    assert (result.row["status"], result.row["warnings"], result.row["orientation"]) == ("converted", "", "RAS")


def test_voxels_stay_where_headers_put_them_however_the_patient_lay(write_series, tmp_path: Path, config) -> None:
    # feet first, prone: rows to the patient's left in RAS terms, columns to the front, slices head to foot
    write_series(HU, orientation=(-1, 0, 0, 0, -1, 0), positions=[(9.0, 8.0, 50 - 3.0 * z) for z in range(5)])
    result = convert(tmp_path / "archive", config)
    assert result.row["warnings"] == "ORIENTATION_NOT_LPS"
    for z, y, x in ((0, 0, 0), (4, 3, 5), (1, 2, 3)):
        lps = np.array([9.0 - 0.75 * x, 8.0 - 1.5 * y, 50 - 3.0 * z])
        i, j, k = np.rint(np.linalg.inv(result.volume.affine) @ [-lps[0], -lps[1], lps[2], 1])[:3].astype(int)
        assert result.volume.hu[k, j, i] == HU[z, y, x]


def test_rescale_that_changes_from_file_to_file(write_series, tmp_path: Path, config) -> None:
    write_series(HU, intercepts=[-1024.0, -1024.0, -1000.0, -1000.0, -8192.0])
    result = convert(tmp_path / "archive", config)
    np.testing.assert_array_equal(result.volume.hu, HU[:, ::-1, ::-1])
    assert result.row["warnings"] == "RESCALE_VARIES"


def test_fractional_slope_is_rounded_to_whole_hu(write_series, tmp_path: Path, config) -> None:
    write_series(HU, slope=0.5, intercepts=[-1024.5] * 5)
    result = convert(tmp_path / "archive", config)
    assert np.abs(result.volume.hu - HU[:, ::-1, ::-1].astype(int)).max() <= 1


def test_values_beyond_int16_are_refused(write_series, tmp_path: Path, config) -> None:
    write_series(HU, tags={"RescaleSlope": 10.0, "RescaleIntercept": 0.0, "PixelData": b"\xff\x7f" * 24})
    row = convert(tmp_path / "archive", config).row
    assert (row["status"], row["reason_codes"]) == ("failed", "HU_OUT_OF_RANGE")
    assert row["message"]


def test_file_that_vanished_since_the_index(write_series, tmp_path: Path, config) -> None:
    paths = write_series(HU)
    chosen = choose(tmp_path / "archive", config)
    paths[3].unlink()
    result = finish(chosen, tmp_path / "archive", config)
    assert result.volume is None and result.row["reason_codes"] == "FILE_UNREADABLE"


def test_damaged_pixels_become_a_row(write_series, tmp_path: Path, config, capfd, caplog) -> None:
    paths = write_series(HU, folder="CANARY")
    chosen = choose(tmp_path / "archive", config)
    paths[3].write_bytes(b"CANARY" * 50)
    with caplog.at_level(logging.DEBUG):
        result = finish(chosen, tmp_path / "archive", config)
    assert (result.row["status"], result.row["reason_codes"]) == ("failed", "FILE_CHANGED")
    assert "CANARY" not in caplog.text + "".join(capfd.readouterr()) + str(result.row)


@pytest.mark.parametrize("wrong", [np.zeros((4, 6)), np.zeros((6, 4))])
def test_disagreeing_decoders_are_not_believed(write_series, tmp_path: Path, config, monkeypatch, wrong) -> None:
    write_series(HU)
    monkeypatch.setattr("hyperct_pipeline.dicom.cross_check.decode_with_pydicom", lambda header: wrong)
    assert convert(tmp_path / "archive", config).row["reason_codes"] == "CROSS_CHECK_FAILED"


@pytest.mark.parametrize(
    "fault",
    [lambda hu: hu[::-1], lambda hu: hu[:, ::-1], lambda hu: hu[:, :, ::-1], lambda hu: np.roll(hu, 1, axis=0)],
    ids=["reversed", "upside down", "mirrored", "shifted"],
)
def test_an_array_that_does_not_lie_where_its_affine_says(
    write_series, tmp_path: Path, config, monkeypatch, fault
) -> None:
    write_series(HU)
    decode = decoding.decode
    monkeypatch.setattr("hyperct_pipeline.dicom.conversion.decode", lambda headers: fault(decode(headers)))
    assert convert(tmp_path / "archive", config).row["reason_codes"] == "CROSS_CHECK_FAILED"


@pytest.mark.parametrize(("shift_mm", "reason"), [(0.45, ""), (0.7, "GEOMETRY_MISMATCH")])
def test_an_affine_that_does_not_lie_where_the_headers_say(
    write_series, tmp_path: Path, config, monkeypatch, shift_mm: float, reason: str
) -> None:
    write_series(HU)

    def shifted(headers, n_slices):
        affine = stack_affine(headers, n_slices)
        affine[1, 3] += shift_mm
        return affine

    monkeypatch.setattr("hyperct_pipeline.dicom.conversion.stack_affine", shifted)
    assert convert(tmp_path / "archive", config).row["reason_codes"] == reason


def test_same_uid_with_other_pixels_is_refused_and_an_equal_copy_is_not(write_series, tmp_path: Path, config) -> None:
    paths = write_series(HU)
    copy = paths[2].with_name("copy")
    copy.write_bytes(paths[2].read_bytes())
    assert convert(tmp_path / "archive", config).row["warnings"] == "DUPLICATE_SOP"
    copy.write_bytes(paths[2].read_bytes()[:-2] + b"\x01\x02")
    assert convert(tmp_path / "archive", config).row["reason_codes"] == "SOP_CONFLICT"


def test_missing_slices_are_filled_in_only_on_request(write_series, tmp_path: Path, config) -> None:
    z = [0.0, 2.5, 7.5, 10.0, 12.5]
    write_series(HU, positions=[(0.0, 0.0, value) for value in z])
    assert list(select_series(index_series(tmp_path / "archive"), PSEUDONYMS, config)[0]["reason_codes"]) == [
        "MISSING_SLICE"
    ]
    result = convert(tmp_path / "archive", replace(config, gate=GateConfig(max_interpolated_slices=1)))
    assert result.row["warnings"] == "INTERPOLATED_SLICES"
    between = np.rint((HU[1].astype(float) + HU[2]) / 2)
    expected = np.concatenate([HU[:2], between[None].astype(np.int16), HU[2:]])
    np.testing.assert_array_equal(result.volume.hu, expected[:, ::-1, ::-1])
    assert result.volume.spacing_mm[0] == 2.5


def test_file_is_named_sized_and_hashed_in_its_row(write_series, tmp_path: Path, config) -> None:
    paths = write_series(HU)
    row = convert(tmp_path / "archive", config).row
    content = (tmp_path / "nifti" / row["nifti"]).read_bytes()
    assert (row["output_bytes"], row["output_sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert row["input_sha256"] == hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()
    header = nib.Nifti1Header.from_fileobj(io.BytesIO(gzip.decompress(content)))
    assert (header["scl_slope"], header["scl_inter"], header.get_data_dtype()) == (1, 0, np.int16)
    for text in ("descrip", "aux_file", "db_name", "intent_name"):
        assert bytes(header[text]).strip(b"\0") == b""


def test_result_depends_on_neither_run_nor_processes(write_series, tmp_path: Path, config) -> None:
    for patient in range(3):
        write_series(HU, folder=f"p{patient}", tags={"StudyInstanceUID": f"1.2.{patient}"})
    _, chosen = select_series(index_series(tmp_path / "archive"), PSEUDONYMS, config)
    unlike = {"seconds", "nifti_modified_ns"}
    rows = [
        {key: {k: v for k, v in row.items() if k not in unlike} for key, row in found}
        for found in (
            [(series.key, convert_series(series, tmp_path / "here", config)) for series in chosen],
            convert_all(chosen, tmp_path, tmp_path / "isolated", config),
            convert_all(chosen, tmp_path, tmp_path / "dask", config, WorkersConfig(n_workers=2)),
        )
    ]
    assert len(rows[0]) == 3 and rows[0] == rows[1] == rows[2]


def test_a_share_that_goes_away_is_one_error(write_series, tmp_path: Path, config) -> None:
    for patient in range(2):
        write_series(HU, folder=f"p{patient}", tags={"StudyInstanceUID": f"1.2.{patient}"})
    _, chosen = select_series(index_series(tmp_path / "archive"), PSEUDONYMS, config)
    (tmp_path / "archive").rename(tmp_path / "away")
    with pytest.raises(ArchiveError, match="still mounted") as caught:
        list(convert_all(chosen, tmp_path / "archive", tmp_path / "nifti", config))
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("limit", [{"memory_limit_gb": 0.05}, {"time_limit_s": 0.001}])
def test_a_limit_costs_one_row(write_series, tmp_path: Path, config, limit) -> None:
    write_series(HU)
    chosen = choose(tmp_path / "archive", config)
    ((key, row),) = convert_all([chosen], tmp_path, tmp_path / "nifti", config, WorkersConfig(**limit))
    assert (key, row["status"]) == (chosen.key, "failed")
    assert row["reason_codes"] in ("MEMORY_LIMIT", "TIME_LIMIT") and row["message"]


def test_a_folder_that_cannot_be_written_is_one_error(write_series, tmp_path: Path, config) -> None:
    write_series(HU)
    (tmp_path / "nifti").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match="cannot be written") as caught:
        list(convert_all([choose(tmp_path / "archive", config)], tmp_path, tmp_path / "nifti", config))
    assert str(tmp_path) not in str(caught.value)
