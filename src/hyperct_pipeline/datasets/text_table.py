"""A CSV file of a hospital as a table of text: what cannot be read for certain is refused before any long work."""

import csv
import io
import logging
import re
from pathlib import Path

import pandas as pd

from hyperct_pipeline.errors import LabelTableError
from hyperct_pipeline.labels.shown_columns import doubled_columns

logger = logging.getLogger(__name__)

EXPORT_AGAIN = "Export it again as comma-separated UTF-8 with one header line."
NAMED_IN_MESSAGES = 3
_ZIP, _OLD_OFFICE, _PARQUET = b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"PAR1"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_SEPARATORS = (",", ";", "\t", "|")  # where the header has as many of two, the first
_SEPARATOR_HINT = re.compile(r'"?sep=(?P<sign>[,;|\t])"?', re.IGNORECASE)
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
# A cell of a megabyte is a quote that was never closed.
csv.field_size_limit(2**20)


def read_text_table(file: Path, name: str) -> pd.DataFrame:
    """Read a CSV with all cells as text; a blank cell becomes "", a byte order mark is dropped.

    Separated by commas, semicolons, tabs or bars, whichever the header has most of, or as its line `sep=;` says; lines
    end in any of the three ways. UTF-8; a file that is not is read as Latin-1 (Windows-1252) with a warning.

    Args:
        file: the CSV file.
        name: how messages call it; the path itself is never shown.

    Raises:
        LabelTableError: the file is empty, no text (a workbook, UTF-16, NUL bytes), or its rows differ in length.
    """
    text = _decoded(file.read_bytes(), name).replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise LabelTableError(f"The table '{name}' is empty: expected a header line and rows.")
    # a tab at the end is a blank cell
    rows = _rows(text.rstrip("\n "), name)
    header = [str(column).strip() for column in rows.iloc[0]]
    if doubled := sorted({column for column in header if column and header.count(column) > 1}):
        raise LabelTableError(
            f"The table '{name}' names a column twice: {doubled_columns(doubled, header)}. Keep one of each, "
            "under a header line."
        )
    return rows.iloc[1:].set_axis(header, axis=1).reset_index(drop=True)


def _rows(text: str, name: str) -> pd.DataFrame:
    """All lines as rows of text, the header first."""
    text, separator = _without_hint(text.lstrip("\n"))
    _refuse_ragged(text, separator, name)
    # header=None, because pandas renames doubled columns
    return pd.read_csv(
        io.StringIO(text), header=None, dtype="str", keep_default_na=False, sep=separator, low_memory=False
    )


def _refuse_ragged(text: str, separator: str, name: str) -> None:
    """Every row has as many cells as the header; pandas fills a short row up without a word."""
    try:
        lengths = [
            len(row) for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True) if row
        ]
    except csv.Error:
        # the reader's own text may quote cells
        raise LabelTableError(
            f"The table '{name}' is not readable as CSV: a quotation mark is not closed or stands inside a cell. "
            f"{EXPORT_AGAIN}"
        ) from None
    ragged = [number for number, length in enumerate(lengths) if length != lengths[0]]
    if ragged:
        shown = ", ".join(f"row {n} has {lengths[n]}" for n in ragged[:NAMED_IN_MESSAGES])
        raise LabelTableError(
            f"The table '{name}' has {len(ragged)} rows that differ from the header in length: expected {lengths[0]} "
            f"cells, {shown} (counted below the header). {EXPORT_AGAIN}"
        )


def _decoded(content: bytes, name: str) -> str:
    if content.startswith((_ZIP, _OLD_OFFICE, _PARQUET)):
        kind = "a parquet file" if content.startswith(_PARQUET) else "an Excel workbook (or another archive)"
        raise LabelTableError(f"The table '{name}' is {kind}, not CSV. Save it as 'CSV UTF-8 (comma delimited)'.")
    if content.startswith(_UTF16) or content[:200].count(0) > len(content[:200]) // 4:
        raise LabelTableError(f"The table '{name}' is written in UTF-16, not UTF-8. {EXPORT_AGAIN}")
    if nul := content.count(0):
        line = content[: content.index(0)].count(b"\n") + 1
        raise LabelTableError(f"The table '{name}' holds {nul} NUL bytes, the first in line {line}. {EXPORT_AGAIN}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        logger.warning(
            "The table '%s' is not UTF-8; it is read as Latin-1 (Windows-1252). Check its special letters.", name
        )
        return content.decode("cp1252", errors="replace")


def _without_hint(text: str) -> tuple[str, str]:
    """The text without the line `sep=;` that spreadsheets put on top, and the sign that separates its cells."""
    header, _, rest = text.partition("\n")
    if hint := _SEPARATOR_HINT.fullmatch(header.strip(" ")):
        return rest.lstrip("\n"), hint["sign"]
    # what stands in quotation marks separates nothing
    bare = _QUOTED.sub("", header)
    return text, max(_SEPARATORS, key=bare.count)
