"""What may be kept of a header: an allow-list of acquisition facts with value patterns, and nothing else.

Free text, identifiers, institutions, dates and private tags are never kept. A date becomes a day number that
only the secret can turn back; an age above 90 becomes 90.
"""

import datetime
import re

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from pydicom._uid_dict import UID_dictionary

from hyperct_pipeline.dicom.header import Header
from hyperct_pipeline.dicom.vocabulary import refuse_bad_patterns
from hyperct_pipeline.pseudonyms import OLDEST_AGE_YEARS, Pseudonyms

OTHER = "OTHER"
_DAYS_PER_UNIT = {"D": 1.0, "W": 7.0, "M": 365.25 / 12, "Y": 365.25}


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class AllowedValues:
    """Which values of coded tags may be written down; any other becomes OTHER.

    Raises:
        ValueError: a pattern is no regular expression.
    """

    modalities: tuple[str, ...]
    image_types: tuple[str, ...]
    manufacturers: dict[str, str]  # code -> word that the tag contains, any case
    kernel_patterns: tuple[str, ...]  # regular expressions that match the whole kernel name

    def __post_init__(self) -> None:
        refuse_bad_patterns("kernel_patterns", self.kernel_patterns)


@dataclass(frozen=True)
class Person:
    """What is known about the patient and the day of a study, under pseudonyms. None is missing."""

    patient_key: str
    accession_key: str | None
    day: int | None
    sex: str | None  # F or M
    age_years: float | None


def person_of(header: Header, study_uid: str, pseudonyms: Pseudonyms) -> Person:
    """The patient of an image; a study without PatientID is a patient of its own."""
    patient_key = patient_key_of(header, pseudonyms) or pseudonyms.patient_key(f"study {study_uid}")
    date = study_date(header)
    accession = header["AccessionNumber"]
    sex = header["PatientSex"].upper()
    return Person(
        patient_key=patient_key,
        accession_key=pseudonyms.accession_key(accession) if accession.strip() else None,
        day=pseudonyms.day(patient_key, date) if date else None,
        sex=sex if sex in ("F", "M") else None,
        age_years=age_years(header),
    )


def patient_key_of(header: Header, pseudonyms: Pseudonyms) -> str | None:
    """Key of the PatientID, None where it is blank."""
    patient_id = header["PatientID"]
    return pseudonyms.patient_key(patient_id, header["IssuerOfPatientID"]) if patient_id.strip() else None


def study_date(header: Header) -> datetime.date | None:
    """Date of the study, else of the series, else of the acquisition."""
    for keyword in ("StudyDate", "SeriesDate", "AcquisitionDate"):
        if date := _date(header[keyword]):
            return date
    return None


def age_years(header: Header) -> float | None:
    """Age at the study, at most 90: PatientAge, else completed years since birth."""
    if match := re.fullmatch(r"(\d{1,3})([DWMY])", header["PatientAge"].upper()):
        years = int(match[1]) * _DAYS_PER_UNIT[match[2]] / _DAYS_PER_UNIT["Y"]
    else:
        born, seen = _date(header["PatientBirthDate"]), study_date(header)
        if born is None or seen is None or born > seen:
            return None
        years = seen.year - born.year - ((seen.month, seen.day) < (born.month, born.day))
    # 0 is what scanners write where nobody typed an age; newborns are no chest screening population
    return min(round(float(years), 2), OLDEST_AGE_YEARS) if years > 0 else None


def modality_of(header: Header, allowed: AllowedValues) -> str | None:
    """Modality code, None where blank."""
    return _allowed(header["Modality"].upper(), allowed.modalities)


def image_type_of(header: Header, allowed: AllowedValues) -> str | None:
    """ImageType values joined by ";", None where blank."""
    return ";".join(_allowed(value, allowed.image_types) or OTHER for value in header.image_type) or None


def scanner_of(header: Header, allowed: AllowedValues) -> str | None:
    """Code of the manufacturer, None where blank."""
    name = header["Manufacturer"].casefold()
    if not name:
        return None
    return next((code for code, word in allowed.manufacturers.items() if word.casefold() in name), OTHER)


def kernel_of(header: Header, allowed: AllowedValues) -> str | None:
    """Reconstruction kernel, the first of several values, None where blank."""
    name = header["ConvolutionKernel"].split("\\")[0].strip()
    if not name:
        return None
    known = any(re.fullmatch(pattern, name, re.IGNORECASE) for pattern in allowed.kernel_patterns)
    return name if known else OTHER


def transfer_syntax_of(header: Header) -> str | None:
    """Registered name of the transfer syntax, None where blank."""
    if not header.transfer_syntax:
        return None
    # pydicom.uid.UID would quote a strange one in a warning
    return str(UID_dictionary[header.transfer_syntax][0]) if header.transfer_syntax in UID_dictionary else OTHER


def plausible(value: float | None, limits: tuple[float, float]) -> float | None:
    """A number within limits, None otherwise: even a number may be somebody's date of birth."""
    return value if value is not None and limits[0] <= value <= limits[1] else None


def _allowed(value: str, values: tuple[str, ...]) -> str | None:
    if not value:
        return None
    return value if value in values else OTHER


def _date(text: str) -> datetime.date | None:
    try:
        return datetime.datetime.strptime(text[:8], "%Y%m%d").date()
    except ValueError:
        return None
