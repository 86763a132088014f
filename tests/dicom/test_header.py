from pathlib import Path

import numpy as np
import pytest

from hyperct_pipeline.dicom.header import Header, read_header

HU = np.zeros((1, 4, 6), dtype=np.int16)


def test_values_and_missing_values(write_series) -> None:
    (path,) = write_series(HU, tags={"KVP": 120, "ContrastBolusAgent": "", "PatientID": None})
    header = read_header(str(path))
    assert isinstance(header, Header)
    assert (header.count("Rows"), header.count("Columns")) == (4, 6)
    assert header.number("KVP") == 120 and header.number("GantryDetectorTilt") is None
    assert header.vector("PixelSpacing", 2) == (1.5, 0.75) and header.vector("PixelSpacing", 3) is None
    assert header["PatientID"] == header["ContrastBolusAgent"] == ""
    assert header.image_type == ("ORIGINAL", "PRIMARY", "AXIAL")
    assert header.pixel_bytes == 4 * 6 * 2 + 12  # 12: tag, VR and length of PixelData


def test_number_that_is_none_counts_as_missing(write_series) -> None:
    (path,) = write_series(HU)
    content = path.read_bytes()
    assert content.count(b"-1024") == 1
    path.write_bytes(content.replace(b"-1024", b"-1O24"))
    header = read_header(str(path))
    assert isinstance(header, Header) and header.number("RescaleIntercept") is None


def test_text_in_another_character_set(write_series) -> None:
    (path,) = write_series(HU, tags={"SpecificCharacterSet": "ISO_IR 192", "PatientID": "Müller-7"})
    header = read_header(str(path))
    assert isinstance(header, Header) and header["PatientID"] == "Müller-7"


@pytest.mark.parametrize(("content", "reason"), [(b"", "NOT_DICOM"), (b"x" * 200, "NOT_DICOM")])
def test_other_files(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "file").write_bytes(content)
    assert read_header(str(tmp_path / "file")) == reason


def test_broken_and_absent_files(write_series, tmp_path: Path) -> None:
    (path,) = write_series(HU)
    path.write_bytes(path.read_bytes()[:140] + b"\xff" * 60)
    assert read_header(str(path)) == "UNREADABLE_FILE"
    assert read_header(str(tmp_path / "absent")) == "UNREADABLE_FILE"


def test_text_form_shows_no_identifier(write_series) -> None:
    (path,) = write_series(HU, folder="CANARY", tags={"PatientID": "CANARY"})
    assert "CANARY" not in repr(read_header(str(path)))
