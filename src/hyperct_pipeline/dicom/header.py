"""The header of one DICOM file: the few tags the pipeline needs, read without pixels.

Values are parsed from the raw bytes: pydicom's own conversion costs twice the time, and its warnings quote
values that may identify a patient.
"""

import logging
import math
import os
import struct
import warnings
from dataclasses import dataclass, field

import pydicom
from pydicom._uid_dict import UID_dictionary
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

from hyperct_pipeline.dicom.file_format import (
    BARE_START,
    DEFLATED,
    OTHER_START,
    PixelData,
    inflated,
    pixel_data,
    start_of_file,
    transfer_syntax,
)

# Its warnings quote values of the header.
logging.getLogger("pydicom").setLevel(logging.CRITICAL)

DICOMDIR_CLASS = "1.2.840.10008.1.3.10"
STORAGE_CLASSES = "1.2.840.10008.5.1.4."
# CT Image, Enhanced CT Image, Legacy Converted Enhanced CT Image
CT_CLASSES = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")

# fmt: off
_TEXT_TAGS = [
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID",
    "PatientID", "IssuerOfPatientID", "AccessionNumber", "StudyDate", "SeriesDate", "AcquisitionDate",
    "PatientAge", "PatientBirthDate", "PatientSex", "Modality", "ImageType", "Manufacturer",
    "ConvolutionKernel", "BodyPartExamined", "StudyDescription", "SeriesDescription", "ProtocolName",
    "ContrastBolusAgent", "RescaleType", "AcquisitionNumber", "SeriesNumber", "LossyImageCompression",
]
_NUMBER_TAGS = [
    "KVP", "SliceThickness", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
    "RescaleSlope", "RescaleIntercept", "NumberOfFrames",
]
_UNSIGNED_TAGS = [
    "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel",
]
# fmt: on


def _tag(keyword: str) -> BaseTag:
    number = tag_for_keyword(keyword)
    assert number is not None, keyword
    return Tag(number)


_TAGS = {keyword: _tag(keyword) for keyword in (*_TEXT_TAGS, *_NUMBER_TAGS, *_UNSIGNED_TAGS)}
_CHARACTER_SET = _tag("SpecificCharacterSet")
_READ_TAGS = [int(tag) for tag in (*_TAGS.values(), _CHARACTER_SET)]


@dataclass(frozen=True, slots=True)
class Header:
    """What one file says of itself. Holds identifiers: its text form shows none of them.

    Blank text and empty tuples mean that the tag is absent, blank or not a number.
    """

    path: str = field(repr=False)
    size: int = field(repr=False)  # bytes of the file
    modified_ns: int = field(repr=False)
    pixel_bytes: int = field(repr=False)  # from the first pixel to the end of the (inflated) file
    pixel_length: int | None = field(repr=False)  # length PixelData declares, None where it is encapsulated
    transfer_syntax: str = field(repr=False)  # UID
    text: dict[str, str] = field(repr=False)  # by DICOM keyword; several values keep their backslash
    numbers: dict[str, tuple[float, ...]] = field(repr=False)  # by DICOM keyword

    @property
    def folder(self) -> str:
        """Path of the folder the file lies in."""
        return self.path.rpartition("/")[0]

    def __getitem__(self, keyword: str) -> str:
        """Text of a tag, blank where missing."""
        return self.text.get(keyword, "")

    def number(self, keyword: str) -> float | None:
        """First number of a tag, None where missing."""
        values = self.numbers.get(keyword, ())
        return values[0] if values else None

    def count(self, keyword: str) -> int:
        """A tag that counts something, 0 where missing."""
        return int(self.number(keyword) or 0)

    def vector(self, keyword: str, length: int) -> tuple[float, ...] | None:
        """All numbers of a tag, None unless there are exactly as many as expected."""
        values = self.numbers.get(keyword, ())
        return values if len(values) == length else None

    @property
    def image_type(self) -> tuple[str, ...]:
        """Values of ImageType in capitals."""
        return tuple(value.strip().upper() for value in self["ImageType"].split("\\") if value.strip())

    @property
    def is_incomplete(self) -> bool:
        """Whether it may be a CT image and has no pixels, as a file that was cut within its header."""
        kind = self["SOPClassUID"]
        may_be_ct = kind in CT_CLASSES or kind not in UID_dictionary  # blank, or itself cut short
        return may_be_ct and self.pixel_bytes == 0 and self.pixel_length is None

    @property
    def is_localizer(self) -> bool:
        """Whether ImageType names a scout image."""
        return "LOCALIZER" in self.image_type


def read_header(path: str) -> Header | str:
    """The header of a file, or why there is none: NOT_DICOM, DICOMDIR or UNREADABLE_FILE."""
    try:
        with open(path, "rb") as stream, warnings.catch_warnings():  # noqa: PTH123 - 20,000 times, Path is slow
            warnings.simplefilter("ignore")  # they quote values
            start = start_of_file(stream)
            if start == OTHER_START:
                return "NOT_DICOM"
            bare = start == BARE_START
            source = inflated(stream) or stream
            dataset = pydicom.dcmread(source, stop_before_pixels=True, specific_tags=_READ_TAGS, force=bare)
            syntax = transfer_syntax(dataset) if source is stream else DEFLATED
            header = _header(path, dataset, pixel_data(source, dataset), os.fstat(stream.fileno()), syntax)
            return _reason(dataset, header, bare) or header
    except Exception:  # noqa: BLE001 - a parser on arbitrary bytes raises anything; every such file is counted
        return "UNREADABLE_FILE"


def _reason(dataset: Dataset, header: Header, bare: bool) -> str:
    """Why a data set that could be parsed is no image, blank where it may be one."""
    if str(dataset.file_meta.get("MediaStorageSOPClassUID", "")) == DICOMDIR_CLASS:
        return "DICOMDIR"
    if bare and not header["SOPClassUID"].startswith(STORAGE_CLASSES):
        return "NOT_DICOM"  # without the magic word only a class of the standard tells an image from junk
    if not header["SOPClassUID"] and not header.count("Rows"):
        return "UNREADABLE_FILE"  # cut within the header: pydicom gives what it had read so far
    return ""


def _header(path: str, dataset: Dataset, pixels: PixelData, status: os.stat_result, syntax: str) -> Header:
    numbers = {keyword: _numbers(dataset, _TAGS[keyword]) for keyword in _NUMBER_TAGS}
    numbers |= {keyword: _unsigned(dataset, _TAGS[keyword]) for keyword in _UNSIGNED_TAGS}
    texts = {keyword: _text(dataset, _TAGS[keyword]) for keyword in _TEXT_TAGS}
    return Header(
        path=path,
        size=status.st_size,
        modified_ns=status.st_mtime_ns,
        pixel_bytes=pixels.bytes_to_end,
        pixel_length=pixels.length,
        transfer_syntax=syntax,
        text={keyword: text for keyword, text in texts.items() if text},
        numbers={keyword: values for keyword, values in numbers.items() if values},
    )


def _raw(dataset: Dataset, tag: BaseTag) -> tuple[bytes, bool]:
    """Bytes of a tag, and whether they are little-endian."""
    if tag not in dataset:
        return b"", True
    element = dataset.get_item(tag)
    value = element.value
    return (value if isinstance(value, bytes) else b""), getattr(element, "is_little_endian", True)


def _text(dataset: Dataset, tag: BaseTag) -> str:
    value, _ = _raw(dataset, tag)
    if value.isascii():
        return value.decode("ascii").strip(" \0")
    decoded = dataset[tag].value  # by SpecificCharacterSet
    parts = decoded if isinstance(decoded, list | pydicom.multival.MultiValue) else [decoded]
    return "\\".join(str(part) for part in parts).strip(" \0")


def _numbers(dataset: Dataset, tag: BaseTag) -> tuple[float, ...]:
    value, _ = _raw(dataset, tag)
    try:
        numbers = tuple(float(part) for part in value.decode("ascii").strip(" \0").split("\\"))
    except ValueError:  # blank, or not a number
        return ()
    return numbers if all(map(math.isfinite, numbers)) else ()


def _unsigned(dataset: Dataset, tag: BaseTag) -> tuple[float, ...]:
    value, little = _raw(dataset, tag)
    return (float(struct.unpack("<H" if little else ">H", value)[0]),) if len(value) == 2 else ()
