"""What headers say about stored pixels: their format, compression, length and rescale to HU.

A header that lies about any of these is read differently by every decoder, so it is refused before one sees it.
"""

from hyperct_pipeline.dicom.file_format import DEFLATED, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from hyperct_pipeline.dicom.header import Header

# UID suffixes below 1.2.840.10008.1.2 that SimpleITK decodes: native, deflated, big endian, JPEG, JPEG-LS,
# JPEG 2000, RLE. Not: HTJ2K, JPEG XL, video, private ones.
_UID_ROOT = "1.2.840.10008.1.2"
NATIVE = {IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED}
LOSSY = {f"{_UID_ROOT}.4.{code}" for code in (50, 51, 81, 91)}
RLE = f"{_UID_ROOT}.5"
JPEG_LOSSLESS = {f"{_UID_ROOT}.4.{code}" for code in (57, 70)}
_LOSSLESS = {f"{_UID_ROOT}.4.{code}" for code in (80, 90)} | {RLE}
SUPPORTED = NATIVE | LOSSY | JPEG_LOSSLESS | _LOSSLESS

BITS_ALLOCATED = (8, 16)
# Larger than any CT matrix, small enough that a handful of images cannot fill the memory.
LARGEST_MATRIX = 4096
# Slope 1 and intercept -1024 are usual; anything outside these ranges is no CT rescale.
SLOPE_RANGE = (1e-3, 10.0)
INTERCEPT_RANGE = (-32768.0, 1000.0)

Headers = tuple[Header, ...]


def pixel_reasons(headers: Headers) -> list[str]:
    """Why the pixels of these images cannot be read, or not be trusted, by their headers alone."""
    greyscale = all(header.count("SamplesPerPixel") == 1 for header in headers)
    single = all(header.count("NumberOfFrames") <= 1 for header in headers)
    rules = {
        "MULTIFRAME": not single,
        "NO_PIXEL_DATA": any(header.pixel_bytes == 0 for header in headers),
        "NOT_GREYSCALE": not greyscale,
        "UNSUPPORTED_TRANSFER_SYNTAX": any(header.transfer_syntax not in SUPPORTED for header in headers),
    }
    reasons = [code for code, applies in rules.items() if applies]
    if reasons:  # then the length says nothing
        return reasons
    if any(_is_cut_short(header) for header in headers):
        return ["TRUNCATED_FILE"]
    if not all(_is_consistent(header) for header in headers):
        return ["BAD_PIXEL_FORMAT"]
    return []


def rescale_reasons(headers: Headers) -> list[str]:
    """Why stored values cannot be turned into HU."""
    slopes = [header.number("RescaleSlope") for header in headers]
    intercepts = [header.number("RescaleIntercept") for header in headers]
    if None in slopes or None in intercepts:
        return ["NO_RESCALE"]
    sane = all(
        SLOPE_RANGE[0] <= slope <= SLOPE_RANGE[1] and INTERCEPT_RANGE[0] <= intercept <= INTERCEPT_RANGE[1]
        for slope, intercept in zip(slopes, intercepts, strict=True)
        if slope is not None and intercept is not None
    )
    reasons = [] if sane else ["BAD_RESCALE"]
    if any(header["RescaleType"].upper() not in ("", "HU", "US") for header in headers):
        reasons.append("RESCALE_NOT_HU")  # "US" is "unspecified" and usual in older CT
    return reasons


def stored_type(header: Header) -> tuple[int, int, int]:
    """What decides on the voxel type a reader chooses."""
    return header.count("BitsAllocated"), header.count("BitsStored"), header.count("PixelRepresentation")


def _expected_bytes(header: Header) -> int:
    return header.count("Rows") * header.count("Columns") * header.count("BitsAllocated") // 8


def _is_cut_short(header: Header) -> bool:
    """Whether a native file ends before its pixels do."""
    native = header.transfer_syntax in NATIVE and header.pixel_length is not None
    return native and header.pixel_bytes < max(_expected_bytes(header), header.pixel_length or 0)


def _is_consistent(header: Header) -> bool:
    """Whether format, matrix and length fit together as the standard wants it."""
    allocated, stored, _ = stored_type(header)
    native = header.transfer_syntax in NATIVE
    expected = _expected_bytes(header)
    return (
        allocated in BITS_ALLOCATED
        and 0 < stored <= allocated
        and header.count("HighBit") == stored - 1
        and header.number("PixelRepresentation") in (0.0, 1.0)
        and max(header.count("Rows"), header.count("Columns")) <= LARGEST_MATRIX
        # native pixels have exactly their length, encapsulated ones have none; an odd length is padded by one
        and (header.pixel_length in (expected, expected + 1) if native else header.pixel_length is None)
    )
