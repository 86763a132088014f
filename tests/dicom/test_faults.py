"""Files that lie, are cut, or have impossible names: the right volume or a named refusal, and nothing in between."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.encaps import encapsulate
from pydicom.uid import UID, JPEG2000Lossless, JPEGLossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless

from hyperct_pipeline.dicom.conversion import ConvertConfig, convert_all, convert_series
from hyperct_pipeline.dicom.index import index_series
from hyperct_pipeline.dicom.selection import select_series
from hyperct_pipeline.errors import ArchiveError
from hyperct_pipeline.pseudonyms import DEMO_SECRET, Pseudonyms
from hyperct_pipeline.study_workers import WorkersConfig
from hyperct_pipeline.volumes.nifti_file import read_nifti

HU = np.random.default_rng(11).integers(-1024, 1500, (5, 16, 24)).astype(np.int16)


def outcome(archive: Path, config: ConvertConfig) -> tuple[str, str, np.ndarray | None]:
    """Status, codes and voxels of the only study; the codes of all series where none is converted."""
    index = index_series(archive)
    table, chosen = select_series(index, Pseudonyms(DEMO_SECRET), config, lost=index.lost)
    if not chosen:
        return "refused", ";".join(table["reason_codes"]), None
    folder = archive.parent / "nifti"
    row = convert_series(chosen[0], folder, config)
    if row["status"] == "failed":
        return "failed", row["reason_codes"], None
    return "converted", row["warnings"], read_nifti(folder / row["nifti"]).hu


def assert_right(result: tuple[str, str, np.ndarray | None]) -> None:
    status, codes, hu = result
    assert (status, codes) == ("converted", "")
    np.testing.assert_array_equal(hu, HU[:, ::-1, ::-1])


def compress(paths: list[Path], syntax: UID) -> None:
    """Re-encodes the pixels of a series without loss."""
    for path in paths:
        dataset = pydicom.dcmread(path)
        if syntax in (JPEGLSLossless, RLELossless):
            dataset.compress(syntax, generate_instance_uid=False)
        else:
            encode = predictive_stream if syntax == JPEGLossless else itk_stream
            dataset.PixelData = encapsulate([encode(dataset.pixel_array, syntax)])
            dataset["PixelData"].VR = "OB"
            dataset.file_meta.TransferSyntaxUID = syntax
        dataset.save_as(path)


def itk_stream(pixels: np.ndarray, syntax: UID) -> bytes:
    file = "/dev/shm/hyperct_test_stream.dcm" if Path("/dev/shm").is_dir() else "stream.dcm"
    writer = sitk.ImageFileWriter()
    writer.SetFileName(file)
    writer.SetUseCompression(True)
    writer.SetCompressor("JPEG2000" if syntax == JPEG2000Lossless else "JPEG")
    writer.Execute(sitk.GetImageFromArray(pixels))
    dataset = pydicom.dcmread(file)
    Path(file).unlink()
    assert dataset.file_meta.TransferSyntaxUID == syntax
    return next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1))


def predictive_stream(pixels: np.ndarray, _: UID) -> bytes:
    """With a predictor other than the first, which only process 14 (not its SV1) allows."""
    stream = imagecodecs.ljpeg_encode(pixels.view(np.uint16), bitspersample=16)
    scan = stream.index(b"\xff\xda")
    assert stream[scan + 7] != 1  # Ss of the scan header
    return stream


COMPRESSED = [JPEGLSLossless, RLELossless, JPEG2000Lossless, JPEGLossless, JPEGLosslessSV1]


@pytest.mark.parametrize("syntax", COMPRESSED, ids=lambda uid: uid.name)
def test_compressed_series(write_series, tmp_path: Path, config, syntax: UID) -> None:
    compress(write_series(HU), syntax)
    assert_right(outcome(tmp_path / "archive", config))


@pytest.mark.parametrize("syntax", COMPRESSED, ids=lambda uid: uid.name)
@pytest.mark.parametrize("share", [0.3, 0.8, 0.97, 0.995])
def test_compressed_file_cut_short(write_series, tmp_path: Path, config, syntax: UID, share: float) -> None:
    paths = write_series(HU)
    compress(paths, syntax)
    content = paths[1].read_bytes()
    paths[1].write_bytes(content[: int(len(content) * share)])
    status, codes, _ = outcome(tmp_path / "archive", config)
    assert status != "converted" and codes


@pytest.mark.parametrize("share", [k / 20 for k in range(20)])
@pytest.mark.parametrize("image", [0, 2])
def test_file_cut_anywhere_leaves_a_trace(write_series, tmp_path: Path, config, share: float, image: int) -> None:
    paths = write_series(HU)
    content = paths[image].read_bytes()
    paths[image].write_bytes(content[: int(len(content) * share)])
    status, codes, hu = outcome(tmp_path / "archive", config)
    assert codes
    if status == "converted":  # an end slice is gone, which the warning tells
        np.testing.assert_array_equal(hu, HU[1:, ::-1, ::-1])


@pytest.mark.parametrize("syntax", [s for s in COMPRESSED if s != RLELossless], ids=lambda uid: uid.name)
def test_stream_of_another_matrix_than_the_header(write_series, tmp_path: Path, config, syntax: UID) -> None:
    paths = write_series(HU)
    compress(paths, syntax)
    for path in paths:
        dataset = pydicom.dcmread(path)
        dataset.Rows, dataset.Columns = 24, 16
        dataset.save_as(path)
    assert outcome(tmp_path / "archive", config)[:2] == ("failed", "CODESTREAM_MISMATCH")


@pytest.mark.parametrize("fragments", [[], [b""], [b"\xff\xd8\xff\xd9"], [b"junk" * 8]])
def test_encapsulated_pixels_without_an_image(write_series, tmp_path: Path, config, fragments: list[bytes]) -> None:
    paths = write_series(HU)
    compress(paths, JPEGLSLossless)
    dataset = pydicom.dcmread(paths[2])
    items = b"".join(b"\xfe\xff\x00\xe0" + len(part).to_bytes(4, "little") + part for part in [b"", *fragments])
    dataset.PixelData = items + b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"
    dataset.save_as(paths[2])
    status, codes, _ = outcome(tmp_path / "archive", config)
    assert status == "failed" and codes in ("TRUNCATED_FILE", "CODESTREAM_MISMATCH")


@pytest.mark.parametrize("claimed", [JPEGLSLossless, RLELossless, UID("1.2.840.10008.1.2.2"), UID("1.2.840.10008.1.2")])
@pytest.mark.parametrize("true", [None, JPEGLSLossless])
def test_wrong_transfer_syntax(write_series, tmp_path: Path, config, claimed: UID, true: UID | None) -> None:
    paths = write_series(HU)
    if true:
        compress(paths, true)
    named = (true or UID("1.2.840.10008.1.2.1")).encode()
    named += b"\0" * (len(named) % 2)
    lie = claimed.encode().ljust(len(named), b"\0")[: len(named)]
    for path in paths:
        path.write_bytes(path.read_bytes().replace(named, lie, 1))
    try:
        result = outcome(tmp_path / "archive", config)
    except ArchiveError:  # no file could be read as what it claims to be
        return
    if result[0] == "converted":  # the claim was noticed and did no harm
        np.testing.assert_array_equal(result[2], HU[:, ::-1, ::-1])
    assert result[1] or true == claimed or result[0] == "converted"


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"Rows": 8}, "BAD_PIXEL_FORMAT"),
        ({"Rows": 32}, "TRUNCATED_FILE"),
        ({"Rows": 65535, "Columns": 65535}, "TRUNCATED_FILE"),
        ({"Columns": 0}, "NO_GEOMETRY"),
        ({"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}, "BAD_PIXEL_FORMAT"),
        ({"BitsAllocated": 64}, "TRUNCATED_FILE"),
        ({"BitsStored": 12, "HighBit": 15}, "BAD_PIXEL_FORMAT"),
        ({"NumberOfFrames": 5}, "MULTIFRAME"),
        ({"PixelSpacing": [0.0, 0.0]}, "NO_GEOMETRY"),
        ({"PixelSpacing": [-0.7, 0.7]}, "NO_GEOMETRY"),
        ({"RescaleSlope": 0.0}, "BAD_RESCALE"),
        ({"RescaleSlope": -1.0}, "BAD_RESCALE"),
        ({"RescaleIntercept": 1e9}, "BAD_RESCALE"),
        ({"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]}, "NOT_AXIAL"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "NOT_AXIAL"),
        ({"SamplesPerPixel": 3}, "NOT_GREYSCALE"),
    ],
)
def test_lying_header(write_series, tmp_path: Path, config, tags: dict, reason: str) -> None:
    write_series(HU, tags=tags)
    status, codes, _ = outcome(tmp_path / "archive", config)
    assert status == "refused" and reason in codes.split(";")


@pytest.mark.parametrize("text", [b"nan     ", b"inf     ", b"1e999   ", b"        ", b"12.4.5  ", b"0x10    "])
@pytest.mark.parametrize(
    ("keyword", "reason"),
    [("PixelSpacing", "NO_GEOMETRY"), ("ImagePositionPatient", "NO_GEOMETRY"), ("RescaleSlope", "NO_RESCALE")],
)
def test_number_that_is_none(write_series, tmp_path: Path, config, keyword: str, reason: str, text: bytes) -> None:
    paths = write_series(HU)
    for path in paths:
        dataset = pydicom.dcmread(path)
        tag = pydicom.tag.Tag(keyword)
        dataset[tag] = pydicom.dataelem.RawDataElement(tag, "DS", len(text), text, 0, False, True)
        dataset.save_as(path)
    status, codes, _ = outcome(tmp_path / "archive", config)
    assert status == "refused" and reason in codes.split(";")


@pytest.mark.parametrize(
    "name",
    [b"a b", b"$(touch x);'\"`", b"new\nline", b"\xff\xfe\xe9", "Ümläut 胸".encode(), b"-rf", b"%s%n", b"x" * 250],
)
def test_names_of_any_bytes(write_series, tmp_path: Path, config, name: bytes) -> None:
    paths = write_series(HU)
    folder = os.path.join(os.fsencode(tmp_path), b"archive", name)  # noqa: PTH118 - bytes
    os.rename(os.fsencode(paths[0].parent), folder)  # noqa: PTH104
    os.rename(os.path.join(folder, b"001.dcm"), os.path.join(folder, name))  # noqa: PTH104, PTH118
    assert_right(outcome(tmp_path / "archive", config))


def test_blank_uids_in_a_folder_of_any_bytes(write_series, tmp_path: Path, config) -> None:
    paths = write_series(HU, tags={"StudyInstanceUID": "", "SeriesInstanceUID": ""})
    os.rename(os.fsencode(paths[0].parent), os.path.join(os.fsencode(tmp_path), b"archive", b"\xff\n"))  # noqa: PTH104, PTH118
    status, codes, hu = outcome(tmp_path / "archive", config)
    assert (status, codes) == ("converted", "MISSING_UID")
    np.testing.assert_array_equal(hu, HU[:, ::-1, ::-1])


def test_what_is_no_regular_file_is_passed_over(write_series, tmp_path: Path, config) -> None:
    (folder,) = {path.parent for path in write_series(HU)}
    os.mkfifo(folder / "fifo.dcm")
    (folder / "loop").symlink_to(folder)
    (folder / "self").symlink_to("self")
    (folder / "dangling.dcm").symlink_to("nowhere")
    here = Path.cwd()
    os.chdir(folder)  # the name of a socket may have 100 characters
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.dcm")
        os.chdir(here)
        assert_right(outcome(tmp_path / "archive", config))


def test_file_that_may_not_be_read(write_series, tmp_path: Path, config, monkeypatch) -> None:
    paths = write_series(HU)
    monkeypatch.setattr("builtins.open", closed_file(open, str(paths[2])))
    status, codes, _ = outcome(tmp_path / "archive", config)
    assert status == "refused" and codes == "MISSING_SLICE"


def closed_file(true_open: Callable, closed: str) -> Callable:
    def opened(path, *args, **kwargs):
        if path == closed:
            raise PermissionError
        return true_open(path, *args, **kwargs)

    return opened


def test_compression_bomb_costs_its_study_alone(write_series, tmp_path: Path, config) -> None:
    paths = write_series(HU[:3], tags={"StudyInstanceUID": "1.9"})
    compress(paths, JPEG2000Lossless)
    for path in paths:  # header and stream both claim 60000 x 60000
        content = bytearray(path.read_bytes())
        size = content.index(b"\xff\x4f\xff\x51") + 8
        content[size : size + 8] = (60000).to_bytes(4, "big") * 2
        content[size + 16 : size + 24] = (60000).to_bytes(4, "big") * 2
        path.write_bytes(content)
        dataset = pydicom.dcmread(path)
        dataset.Rows = dataset.Columns = 60000
        dataset.save_as(path)
    assert outcome(tmp_path / "archive", config)[:2] == ("refused", "BAD_PIXEL_FORMAT")
    for path in paths:  # small enough for the gate, and a stream that is mostly promise
        dataset = pydicom.dcmread(path)
        dataset.Rows = dataset.Columns = 4096
        dataset.save_as(path)
        content = path.read_bytes().replace((60000).to_bytes(4, "big"), (4096).to_bytes(4, "big"))
        path.write_bytes(content)
    limited = WorkersConfig(memory_limit_gb=0.5, time_limit_s=30.0)
    _, chosen = select_series(index_series(tmp_path / "archive"), Pseudonyms(DEMO_SECRET), config)
    ((_, row),) = convert_all(chosen, tmp_path, tmp_path / "nifti", config, limited)
    assert row["status"] == "failed"
    assert row["reason_codes"] in ("MEMORY_LIMIT", "DECODE_FAILED", "WORKER_CRASHED")
