"""How a DICOM file is laid out: preamble, transfer syntax, deflation, and where its pixels begin.

Everything is bounded: a few hundred kilobytes may inflate to gigabytes, and a file may claim any length.
"""

import io
import re
import zlib
from dataclasses import dataclass
from typing import BinaryIO, Literal

from pydicom.dataset import Dataset
from pydicom.filereader import _read_file_meta_info, read_preamble

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"

PART10_START, BARE_START, OTHER_START = "preamble", "no preamble", "other"
_PREAMBLE_BYTES = 128
_MAGIC = b"DICM"
# A data set that begins without preamble begins with one of these groups, little or big endian.
_FIRST_GROUPS = {b"\x02\x00", b"\x08\x00", b"\x00\x08"}
_LONGEST_FIRST_VALUE = 1024
_PIXEL_DATA_TAGS = {b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10"}
_UNDEFINED_LENGTH = 0xFFFFFFFF
_META_BYTES = 2048
# What one image may inflate to: a slice of 4096 x 4096 has 32 MB.
MAX_INFLATED_BYTES = 128 << 20


@dataclass(frozen=True)
class PixelData:
    """Where the pixels of a file are."""

    bytes_to_end: int  # from the first byte of pixels to the end of the file, 0 where there is none
    length: int | None  # that the element declares, None where it is undefined, as encapsulated pixels have it


def start_of_file(stream: BinaryIO) -> str:
    """Whether a file begins as DICOM part 10, as a bare data set, or as something else."""
    head = stream.read(_PREAMBLE_BYTES + len(_MAGIC))
    stream.seek(0)
    if head[_PREAMBLE_BYTES:] == _MAGIC:
        return PART10_START
    if head[:2] not in _FIRST_GROUPS or len(head) < 8:
        return OTHER_START
    order: Literal["big", "little"] = "big" if head[:2] == b"\x00\x08" else "little"
    explicit = re.fullmatch(rb"[A-Z]{2}", head[4:6]) is not None
    length = int.from_bytes(head[6:8] if explicit else head[4:8], order)
    return BARE_START if length <= _LONGEST_FIRST_VALUE else OTHER_START


def inflated(stream: BinaryIO) -> BinaryIO | None:
    """A deflated file as the explicit little-endian one it stands for, None for any other file.

    Raises:
        ValueError: it inflates to more than any image has, or is cut short.
    """
    head = stream.read(_META_BYTES)
    stream.seek(0)
    if DEFLATED.encode() not in head:  # a whole parse of the file meta group would double the time of the index
        return None
    read_preamble(stream, force=True)
    _read_file_meta_info(stream)
    start = stream.tell()
    decompressor = zlib.decompressobj(-zlib.MAX_WBITS)
    content = decompressor.decompress(stream.read(MAX_INFLATED_BYTES), MAX_INFLATED_BYTES)
    if not decompressor.eof:
        raise ValueError("cut short, or larger than any image")
    stream.seek(0)
    head = stream.read(start).replace(DEFLATED.encode(), EXPLICIT_LITTLE.encode() + b"\0" * 3)
    return io.BytesIO(head + content)


def transfer_syntax(dataset: Dataset) -> str:
    """UID of the transfer syntax; where the file names none, the one it was found to be read by."""
    if named := str(dataset.file_meta.get("TransferSyntaxUID", "")):
        return named
    implicit, little = dataset.original_encoding
    if implicit:
        return IMPLICIT_LITTLE
    return EXPLICIT_LITTLE if little else EXPLICIT_BIG


def pixel_data(stream: BinaryIO, dataset: Dataset) -> PixelData:
    """What follows the header in a stream that was read up to its pixels."""
    position = stream.tell()
    head = stream.read(12)
    end = stream.seek(0, io.SEEK_END)
    if head[:4] not in _PIXEL_DATA_TAGS:
        return PixelData(0, None)
    implicit, little = dataset.original_encoding
    field = head[4:8] if implicit else head[8:12]
    length = int.from_bytes(field, "little" if little else "big")
    bytes_to_end = max(0, end - position - (8 if implicit else 12))
    return PixelData(bytes_to_end, None if length == _UNDEFINED_LENGTH else length)
