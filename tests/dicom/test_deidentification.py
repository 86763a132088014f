import numpy as np
import pytest

from hyperct_pipeline.dicom import deidentification as keep
from hyperct_pipeline.dicom.header import Header, read_header
from hyperct_pipeline.pseudonyms import DEMO_SECRET, Pseudonyms

PSEUDONYMS = Pseudonyms(DEMO_SECRET)


@pytest.fixture
def header_with(write_series):
    def make(**tags) -> Header:
        (path,) = write_series(np.zeros((1, 4, 6), dtype=np.int16), tags=tags)
        header = read_header(str(path))
        assert isinstance(header, Header)
        return header

    return make


@pytest.mark.parametrize(
    ("tags", "age_years"),
    [
        ({"PatientAge": "068Y"}, 68.0),
        ({"PatientAge": "090Y"}, 90.0),
        ({"PatientAge": "091Y"}, 90.0),
        ({"PatientAge": "006M"}, 0.5),
        ({"PatientAge": "000Y"}, None),
        ({"PatientAge": "", "PatientBirthDate": "19600301", "StudyDate": "20200229"}, 59.0),
        ({"PatientAge": "", "PatientBirthDate": "19600301", "StudyDate": "20200301"}, 60.0),
        ({"PatientBirthDate": "19200101", "StudyDate": "20200301"}, 90.0),
        ({"PatientBirthDate": "20210101", "StudyDate": "20200301"}, None),
        ({"PatientBirthDate": "19600301"}, None),
        ({}, None),
    ],
)
def test_age(header_with, tags: dict[str, str], age_years: float | None) -> None:
    assert keep.age_years(header_with(**tags)) == age_years


@pytest.mark.parametrize(("written", "sex"), [("F", "F"), ("M", "M"), ("O", None), ("", None)])
def test_sex(header_with, written: str, sex: str | None) -> None:
    assert keep.person_of(header_with(PatientSex=written), "1.2", PSEUDONYMS).sex == sex


def test_person_joins_with_tables_by_the_same_keys(header_with) -> None:
    header = header_with(PatientID=" AB1", AccessionNumber="acc-7", StudyDate="20200229")
    person = keep.person_of(header, "1.2", PSEUDONYMS)
    assert person.patient_key == PSEUDONYMS.patient_key("ab1")
    assert person.accession_key == PSEUDONYMS.accession_key("acc-7")
    later = keep.person_of(header_with(PatientID="ab1", SeriesDate="20200301"), "1.2", PSEUDONYMS)
    assert later.day is not None and person.day is not None and later.day - person.day == 1


def test_patients_without_an_id_stay_apart(header_with) -> None:
    header = header_with(PatientID="")
    keys = {keep.person_of(header, study, PSEUDONYMS).patient_key for study in ("1.2", "1.3")}
    assert len(keys) == 2
    assert keep.person_of(header, "1.2", PSEUDONYMS).accession_key is None


def test_only_listed_values_are_kept(header_with, config) -> None:
    allowed = config.allowed_values
    header = header_with(
        Manufacturer="SIEMENS of CANARY",
        ConvolutionKernel=["B30f", "CANARY"],
        Modality="CANARY",
        ImageType=["ORIGINAL", "CANARY"],
    )
    assert keep.scanner_of(header, allowed) == "SIEMENS"
    assert keep.kernel_of(header, allowed) == "B30f"
    assert keep.modality_of(header, allowed) == "OTHER"
    assert keep.image_type_of(header, allowed) == "ORIGINAL;OTHER"
    assert keep.transfer_syntax_of(header) == "Explicit VR Little Endian"
    assert keep.kernel_of(header_with(ConvolutionKernel="CANARY"), allowed) == "OTHER"
    assert keep.scanner_of(header_with(Manufacturer="CANARY"), allowed) == "OTHER"
    assert keep.scanner_of(header_with(Manufacturer=""), allowed) is None
