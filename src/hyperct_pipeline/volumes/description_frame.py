"""How a stored volume's file ends: with its description, so that array and description cannot part.

Layout: array | JSON | length of the JSON as 8 bytes | CRC-32 of the JSON | MAGIC. One file, one rename.
"""

import io
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

MAGIC = b"HCTSTOR2"
_EARLIER_MAGIC = b"HCTSTOR1"  # had no digest
_FOOTER_BYTES = 8 + 4 + len(MAGIC)


def write_description(stream: BinaryIO, meta: Mapping[str, Any]) -> None:
    """Ends a file whose array is written."""
    text = json.dumps(meta, sort_keys=True).encode()
    stream.write(text + len(text).to_bytes(8, "little") + zlib.crc32(text).to_bytes(4, "little") + MAGIC)


def read_description(path: Path) -> tuple[dict[str, Any], int]:
    """The description, and the byte at which it begins.

    Raises:
        ValueError: the frame is not whole, saying how.
        OSError: the file cannot be read.
    """
    with path.open("rb") as stream:
        size = stream.seek(0, io.SEEK_END)
        stream.seek(max(size - _FOOTER_BYTES, 0))
        footer = stream.read()
        if footer.endswith(_EARLIER_MAGIC):
            raise ValueError("of an earlier format without a digest")
        start = size - _FOOTER_BYTES - int.from_bytes(footer[:8], "little")
        if not footer.endswith(MAGIC) or start < 0:
            raise ValueError("no description at its end")
        stream.seek(start)
        text = stream.read(size - _FOOTER_BYTES - start)
    if zlib.crc32(text) != int.from_bytes(footer[8:12], "little"):
        raise ValueError("its description has changed")
    meta: dict[str, Any] = json.loads(text)
    return meta, start
