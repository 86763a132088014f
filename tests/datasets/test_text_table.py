"""A file that cannot be read for certain is refused, and the message says what to do."""

import logging
from pathlib import Path

import pytest

from hyperct_pipeline.datasets.text_table import read_text_table
from hyperct_pipeline.errors import LabelTableError


def read(folder: Path, content: bytes):
    file = folder / "DOE_JOHN.csv"
    file.write_bytes(content)
    return read_text_table(file, "labels.a")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"a,b\n1,2,3\n", "1 rows that differ from the header in length: expected 2 cells, row 1 has 3"),
        (b"a,b\n1,2\n1\n", "row 2 has 1"),
        (b"a,a\n1,2\n", "names a column twice: 'a'"),
        (b"Doe John,2023-05-03,Doe John,2023-05-03\n1,2,3,4\n", "names a column twice: column 2, column 1"),
        (b"a,b\n1,2\x00\n", "holds 1 NUL bytes, the first in line 2"),
        ("a,b\n1,2\n".encode("utf-16"), "is written in UTF-16"),
        ("a,b\n1,2\n".encode("utf-16-le"), "is written in UTF-16"),
        (b"PK\x03\x04rest", "is an Excel workbook"),
        (b"\xd0\xcf\x11\xe0rest", "is an Excel workbook"),
        (b'a,b\n1,"Doe John\n', "a quotation mark is not closed"),
    ],
)
def test_an_unreadable_file_says_what_was_expected(tmp_path: Path, content: bytes, expected: str) -> None:
    with pytest.raises(LabelTableError, match=f"'labels.a' .*{expected}") as caught:
        read(tmp_path, content)
    assert "DOE_JOHN" not in str(caught.value)
    assert "Doe John" not in str(caught.value)


def test_byte_order_mark_blank_cells_and_blank_lines(tmp_path: Path) -> None:
    table = read(tmp_path, "\ufeffid,value\r\n007,NA\r\n\r\n008,\r\n".encode())
    assert table.to_dict("list") == {"id": ["007", "008"], "value": ["NA", ""]}


@pytest.mark.parametrize("separator", [";", "\t"])
def test_semicolons_and_tabs_are_seen_in_the_header(tmp_path: Path, separator: str) -> None:
    table = read(tmp_path, f"id{separator}size\n1{separator}5,3\n".encode())
    assert table.to_dict("list") == {"id": ["1"], "size": ["5,3"]}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"id\tsize\n1\t45\n2\t\n", {"id": ["1", "2"], "size": ["45", ""]}),
        (b"id\tsize\n1\t45\n2\t", {"id": ["1", "2"], "size": ["45", ""]}),
        (b"id,size\n1,\n  \n", {"id": ["1"], "size": [""]}),
        (b'id;size;"Remark, free"\n1;5,3;x\n', {"id": ["1"], "size": ["5,3"], "Remark, free": ["x"]}),
        (b"id;size;Remark, free\n1;5,3;x\n", {"id": ["1"], "size": ["5,3"], "Remark, free": ["x"]}),
        (b"id;size\r1;5,3\r2;45\r", {"id": ["1", "2"], "size": ["5,3", "45"]}),
        (b"id,size\r1,5\r", {"id": ["1"], "size": ["5"]}),
        (b"sep=,\nid,size\n1,5\n", {"id": ["1"], "size": ["5"]}),
        (b'"sep=;"\r\nid;size\r\n1;5,3\r\n', {"id": ["1"], "size": ["5,3"]}),
        (b"id|size\n1|5,3\n", {"id": ["1"], "size": ["5,3"]}),
        (b'id,size\n1,"a\nb"\n', {"id": ["1"], "size": ["a\nb"]}),
        (b"size\n5\n", {"size": ["5"]}),
    ],
)
def test_dialects_of_spreadsheets(tmp_path: Path, content: bytes, expected: dict[str, list[str]]) -> None:
    assert read(tmp_path, content).to_dict("list") == expected


def test_latin_1_is_read_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    table = read(tmp_path, "id,lvef\nä,30\u201335%\n".encode("cp1252"))
    assert table.to_dict("list") == {"id": ["ä"], "lvef": ["30\u201335%"]}
    assert "'labels.a' is not UTF-8" in caplog.text


def test_a_header_alone_is_a_table_without_rows(tmp_path: Path) -> None:
    table = read(tmp_path, b"id,value\n")
    assert list(table.columns) == ["id", "value"]
    assert table.empty
