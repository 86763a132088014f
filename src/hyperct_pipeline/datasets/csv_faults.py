"""Why a CSV file could not be read: which line, and what is wrong there, without a word of its content."""

import csv
import io
from pathlib import Path

WORKBOOK = "it is a workbook under another name"
_ZIP = b"PK\x03\x04"  # what xlsx and ods files begin with
SEPARATORS = {";": "semicolons", "\t": "tabs"}


def separator_hint(header: list[str]) -> str:
    """What a header of one column is likely separated by; empty where it is not."""
    if len(header) != 1:
        return ""
    found = [word for sign, word in SEPARATORS.items() if sign in header[0]]
    return f"its header looks separated by {found[0]}, expected commas; export it as comma-separated" if found else ""


def csv_fault(file: Path) -> str:
    """The first fault of a file that is no CSV in UTF-8 with rows of equal length; empty if none is found.

    Rows are counted below the header, lines from the start of the file.
    """
    content = file.read_bytes()
    if content.startswith(_ZIP):
        return WORKBOOK
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return f"line {content[: error.start].count(bytes([10])) + 1} is not UTF-8"
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    ragged: list[tuple[int, int, int]] = []
    width = number = line = 0
    try:
        for cells in reader:
            if cells and not width:
                width = len(cells)
            elif cells:
                number += 1
                if len(cells) != width:
                    ragged.append((number, line + 1, len(cells)))
            line = reader.line_num
    except csv.Error:
        return f"a quotation mark in the row that begins in line {line + 1} is not closed or stands inside a cell"
    if not ragged:
        return ""
    row, at, found = ragged[0]
    return (
        f"row {row} below the header (line {at}) has {found} cells, the header has {width}; "
        f"{len(ragged)} of {number} rows differ from the header"
    )
