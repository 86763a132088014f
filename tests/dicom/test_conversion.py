import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hyperct_pipeline.dicom.conversion import (
    Conversion,
    ConvertConfig,
    convert_all,
    convert_series,
    is_done,
)
from hyperct_pipeline.dicom.selection import ChosenSeries, select_series
from hyperct_pipeline.dicom.series import index_series
from hyperct_pipeline.pseudonyms import DEMO_SECRET, Pseudonyms

HU = np.random.default_rng(7).integers(-1024, 1500, (5, 4, 6)).astype(np.int16)


def choose(archive: Path, config: ConvertConfig) -> ChosenSeries:
    _, (chosen,) = select_series(index_series(archive), Pseudonyms(DEMO_SECRET), config)
    return chosen


def convert(archive: Path, config: ConvertConfig) -> Conversion:
    return convert_series(choose(archive, config), config)


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
    result = convert_series(chosen, config)
    assert result.volume is None and result.row["reason_codes"] == "FILE_UNREADABLE"


def test_damaged_pixels_become_a_row(write_series, tmp_path: Path, config, capfd, caplog) -> None:
    paths = write_series(HU, folder="CANARY")
    chosen = choose(tmp_path / "archive", config)
    paths[3].write_bytes(b"CANARY" * 50)
    with caplog.at_level(logging.DEBUG):
        result = convert_series(chosen, config)
    assert (result.row["status"], result.row["reason_codes"]) == ("failed", "DECODE_FAILED")
    assert "CANARY" not in caplog.text + "".join(capfd.readouterr()) + str(result.row)


def test_disagreeing_decoders_are_not_believed(write_series, tmp_path: Path, config, monkeypatch) -> None:
    write_series(HU)
    monkeypatch.setattr("hyperct_pipeline.dicom.conversion._decode_with_pydicom", lambda header: np.zeros((4, 6)))
    assert convert(tmp_path / "archive", config).row["reason_codes"] == "CROSS_CHECK_FAILED"


def test_done_until_files_or_settings_change(write_series, tmp_path: Path, config) -> None:
    paths = write_series(HU)
    chosen = choose(tmp_path / "archive", config)
    row = convert_series(chosen, config).row
    assert is_done(chosen, row, config)
    assert is_done(chosen, row, replace(config, n_workers=3))
    assert not is_done(chosen, row, replace(config, cross_check_tolerance_hu=2.0))
    assert not is_done(chosen, row | {"status": "failed"}, config)
    assert not is_done(chosen, None, config)
    paths[0].write_bytes(paths[0].read_bytes())
    assert not is_done(choose(tmp_path / "archive", config), row, config)


def test_result_depends_on_neither_run_nor_processes(write_series, tmp_path: Path, config) -> None:
    chosen = []
    for patient in range(5):
        write_series(HU, folder=f"p{patient}", tags={"StudyInstanceUID": f"1.2.{patient}"})
    _, chosen = select_series(index_series(tmp_path / "archive"), Pseudonyms(DEMO_SECRET), config)
    assert len(chosen) == 5
    alone = list(convert_all(chosen, config))
    pooled = list(convert_all(chosen, replace(config, n_workers=2)))
    for one, other in zip(alone, pooled, strict=True):
        np.testing.assert_array_equal(one.volume.hu, other.volume.hu)
        assert {**one.row, "seconds": 0} == {**other.row, "seconds": 0}
