import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hyperct_pipeline.dicom.conversion import convert_series
from hyperct_pipeline.dicom.finished import is_done
from hyperct_pipeline.dicom.index import index_series
from hyperct_pipeline.dicom.selection import select_series
from hyperct_pipeline.pseudonyms import DEMO_SECRET, Pseudonyms

HU = np.random.default_rng(7).integers(-1024, 1500, (5, 4, 6)).astype(np.int16)


@pytest.fixture
def finished(write_series, tmp_path: Path, config):
    """A converted series, its row and its volume."""
    write_series(HU)
    _, (chosen,) = select_series(index_series(tmp_path / "archive"), Pseudonyms(DEMO_SECRET), config)
    row = convert_series(chosen, tmp_path, config)
    return chosen, row, tmp_path / row["nifti"]


def test_done_until_settings_change(finished, tmp_path: Path, config) -> None:
    chosen, row, _ = finished
    assert is_done(chosen, row, tmp_path, config)
    assert not is_done(chosen, row, tmp_path, replace(config, cross_check_tolerance_hu=2.0))
    assert not is_done(chosen, None, tmp_path, config)


def test_done_until_files_change(finished, tmp_path: Path, config) -> None:
    _, row, _ = finished
    file = tmp_path / "archive" / "series" / "000.dcm"
    os.utime(file, ns=(0, 0))
    _, (chosen,) = select_series(index_series(tmp_path / "archive"), Pseudonyms(DEMO_SECRET), config)
    assert not is_done(chosen, row, tmp_path, config)


def test_done_only_while_the_volume_is_whole(finished, tmp_path: Path, config) -> None:
    chosen, row, nifti = finished
    content = nifti.read_bytes()
    nifti.write_bytes(content)  # a copy: other time, same bytes
    assert is_done(chosen, row, tmp_path, config)
    nifti.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert not is_done(chosen, row, tmp_path, config)
    nifti.write_bytes(content[:-1])
    assert not is_done(chosen, row, tmp_path, config)
    nifti.unlink()
    assert not is_done(chosen, row, tmp_path, config)


@pytest.mark.parametrize(("code", "done"), [("DECODE_FAILED", True), ("WORKER_CRASHED", False), ("TIME_LIMIT", False)])
def test_failures_that_may_pass_are_tried_again(finished, tmp_path: Path, config, code: str, done: bool) -> None:
    chosen, row, _ = finished
    assert is_done(chosen, row | {"status": "failed", "reason_codes": code}, tmp_path, config) is done
