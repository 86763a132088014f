import dataclasses
import io
from pathlib import Path

import numpy as np
import pydicom
import pytest

from hyperct_pipeline.phantom.instances import Series, encode_series, uid, write_instances


@pytest.fixture
def series() -> Series:
    generator = np.random.default_rng(0)
    positions = np.stack([np.full(5, -170.25), np.full(5, -181.5), -300 + 2.5 * np.arange(5)], axis=1)
    header: dict[str, object] = {
        "Modality": "CT", "PatientID": "train_1", "RescaleSlope": "1", "RescaleIntercept": "-1024", "SeriesNumber": 2
    }  # fmt: skip
    stored = generator.integers(-2000, 3000, (5, 16, 24)).astype(np.int16)
    return Series(header, "a seed", 2.8125, (1, 0, 0, 0, 1, 0), positions, stored, ("RescaleSlope",))


def test_pydicom_reads_back_what_was_written(series: Series) -> None:
    for index, data in enumerate(encode_series(series)):
        read = pydicom.dcmread(io.BytesIO(data))
        np.testing.assert_array_equal(read.pixel_array, series.stored[index])
        np.testing.assert_allclose([float(v) for v in read.ImagePositionPatient], series.positions[index], atol=1e-4)
        assert float(read.SliceLocation) == pytest.approx(series.positions[index, 2])
        assert [float(v) for v in read.PixelSpacing] == [2.8125, 2.8125]
        assert read.InstanceNumber == index + 1
        assert read.SOPInstanceUID == read.file_meta.MediaStorageSOPInstanceUID
        assert read.SOPClassUID == "1.2.840.10008.5.1.4.1.1.2"
        assert read.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
        assert (read.Rows, read.Columns, read.PixelRepresentation) == (16, 24, 1)
        assert "RescaleSlope" not in read and read.RescaleIntercept == -1024


def test_uids_are_valid_distinct_and_follow_their_text(series: Series) -> None:
    uids = {str(pydicom.dcmread(io.BytesIO(data)).SOPInstanceUID) for data in encode_series(series)}
    assert len(uids) == 5
    assert all(pydicom.uid.UID(u).is_valid and len(u) == 43 for u in uids)
    assert uid("x") == uid("x") != uid("y")
    assert all(int(uid(str(k))[5:]) < 2**128 for k in range(200))


def test_instances_are_written_under_their_names(series: Series, tmp_path: Path) -> None:
    data = encode_series(series)
    write_instances(tmp_path / "new" / "folder", list("edcba"), data)
    assert (tmp_path / "new" / "folder" / "a").read_bytes() == data[-1]


def test_a_uid_that_contains_the_mark_of_the_instance_number_is_left_alone(series: Series) -> None:
    study = "2.25.1543282398765467550518068254422850"
    marked = dataclasses.replace(series, header=series.header | {"StudyInstanceUID": study})
    for index, data in enumerate(encode_series(marked)):
        dataset = pydicom.dcmread(io.BytesIO(data))
        assert (str(dataset.StudyInstanceUID), int(dataset.InstanceNumber)) == (study, index + 1)
