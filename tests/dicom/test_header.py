import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

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
    assert header.pixel_bytes == header.pixel_length == 4 * 6 * 2


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


@pytest.mark.parametrize("start", [128 + 4, 0], ids=["without preamble", "as it is"])
def test_file_without_preamble_is_read_all_the_same(write_series, start: int) -> None:
    (path,) = write_series(HU, tags={"PatientID": "p7"})
    path.write_bytes(path.read_bytes()[start:])
    header = read_header(str(path))
    assert isinstance(header, Header)
    assert (header["PatientID"], header.count("Rows"), header.pixel_length) == ("p7", 4, 48)
    assert header.transfer_syntax == "1.2.840.10008.1.2.1"


def test_bare_data_set_names_no_transfer_syntax(write_series) -> None:
    (path,) = write_series(HU)
    content = path.read_bytes()
    path.write_bytes(content[content.index(b"\x08\x00\x08\x00") :])
    header = read_header(str(path))
    assert isinstance(header, Header) and header.transfer_syntax == "1.2.840.10008.1.2.1"
    assert header["Modality"] == "CT" and header.pixel_bytes == 48


@pytest.mark.parametrize(
    "head", [b"\x08\x00\x05\x00CS\x04\x00", b"\x02\x00\x00\x00UL\x04\x00", b"\x00\x08\x00\x05\x00\x00\x00\x02"]
)
def test_junk_that_begins_like_a_data_set_is_still_junk(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "file").write_bytes(head + b"noise " * 60)
    assert isinstance(read_header(str(tmp_path / "file")), str)


def test_deflated_bomb_and_cut_deflated_file_are_unreadable(write_series) -> None:
    (path,) = write_series(HU)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(path)
    header = read_header(str(path))
    assert isinstance(header, Header) and (header.pixel_length, header.pixel_bytes) == (48, 48)
    assert header.transfer_syntax == DeflatedExplicitVRLittleEndian
    content = path.read_bytes()
    with path.open("rb") as stream:
        pydicom.filereader.read_preamble(stream, force=False)
        pydicom.filereader._read_file_meta_info(stream)
        start = stream.tell()
    path.write_bytes(content[:-10])
    assert read_header(str(path)) == "UNREADABLE_FILE"
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    plain = zlib.decompress(content[start:], -15)
    path.write_bytes(content[:start] + deflate.compress(plain + bytes(300_000_000)) + deflate.flush())
    assert read_header(str(path)) == "UNREADABLE_FILE"
