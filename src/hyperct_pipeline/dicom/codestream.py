"""The compressed image inside a DICOM file: whether it is whole, and which matrix it holds.

Codecs believe the stream, readers believe the header, and some of both go on with half a stream in silence.
"""

import struct

from hyperct_pipeline.dicom.pixel_format import RLE
from hyperct_pipeline.errors import HyperctError

_ITEM, _END_OF_SEQUENCE = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_END_OF_IMAGE = b"\xff\xd9"  # of JPEG, JPEG-LS and JPEG 2000 alike
_J2K_SIZE = b"\xff\x4f\xff\x51"
_JPEG_START = b"\xff\xd8"
# Start-of-frame markers carry the matrix; C4, C8 and CC are tables, F7 is JPEG-LS.
_START_OF_FRAME = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_RLE_HEADER_BYTES = 64


class DecodeError(HyperctError):
    """Pixels of a series cannot be had or trusted; the text is a reason code."""


def check_codestream(pixels: bytes, transfer_syntax: str, rows: int, columns: int, bytes_per_pixel: int) -> None:
    """Holds encapsulated pixels of one image against its header.

    Args:
        pixels: value of PixelData to the end of the file.
        transfer_syntax: UID, a compressed one.
        rows: of the header.
        columns: of the header.
        bytes_per_pixel: of the header.

    Raises:
        DecodeError: the stream is cut short, or holds another matrix than the header says.
    """
    stream = _joined_fragments(pixels)
    if transfer_syntax == RLE:
        if len(stream) < _RLE_HEADER_BYTES or struct.unpack_from("<I", stream)[0] != bytes_per_pixel:
            raise DecodeError("CODESTREAM_MISMATCH")
        return
    if not stream.rstrip(b"\0").endswith(_END_OF_IMAGE):
        raise DecodeError("TRUNCATED_FILE")
    if _matrix(stream) != (rows, columns):
        raise DecodeError("CODESTREAM_MISMATCH")


def _joined_fragments(pixels: bytes) -> bytes:
    """The one image of a sequence of fragments, of which the first is a table of offsets."""
    fragments, position = [], 0
    while pixels[position : position + 4] == _ITEM:
        length = int.from_bytes(pixels[position + 4 : position + 8], "little")
        position += 8
        if position + length > len(pixels):
            raise DecodeError("TRUNCATED_FILE")
        fragments.append(pixels[position : position + length])
        position += length
    if pixels[position : position + 4] != _END_OF_SEQUENCE or len(fragments) < 2:
        raise DecodeError("TRUNCATED_FILE")
    return b"".join(fragments[1:])


def _matrix(stream: bytes) -> tuple[int, int] | None:
    """Rows and columns of a JPEG, JPEG-LS or JPEG 2000 stream, None where it states none."""
    if (start := stream.find(_J2K_SIZE)) >= 0 and not stream.startswith(_JPEG_START):
        return _j2k_matrix(stream[start + len(_J2K_SIZE) :])
    position = len(_JPEG_START)
    while position + 9 <= len(stream) and stream[position] == 0xFF:
        marker = stream[position + 1]
        if marker in _START_OF_FRAME:
            rows, columns = struct.unpack_from(">HH", stream, position + 5)
            return rows, columns
        if marker == 0xFF:  # fill bytes before a marker
            position += 1
        else:
            position += 2 + int.from_bytes(stream[position + 2 : position + 4], "big")
    return None


def _j2k_matrix(size_segment: bytes) -> tuple[int, int] | None:
    if len(size_segment) < 20:
        return None
    width, height, left, top = struct.unpack_from(">4I", size_segment, 4)
    return height - top, width - left
