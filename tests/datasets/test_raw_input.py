"""Raw input that is missing or unreadable says so, and says both ways out, without showing a path."""

from pathlib import Path

import pytest
from kedro.io import DatasetError

from hyperct_pipeline.datasets import ArchiveFolder, RawTable, RawTables
from hyperct_pipeline.errors import ArchiveError


def cause(error: pytest.ExceptionInfo[DatasetError]) -> BaseException:
    assert error.value.__cause__ is not None
    return error.value.__cause__


def test_a_missing_archive_names_both_ways_out(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as error:
        ArchiveFolder(str(tmp_path / "DOE_JOHN")).load()
    assert isinstance(cause(error), ArchiveError)
    assert "--params=dicom_root=PATH" in str(error.value)
    assert "kedro run --pipeline=phantom" in str(error.value)
    assert "DOE_JOHN" not in str(error.value)


def test_no_label_table_lists_the_sources() -> None:
    with pytest.raises(DatasetError, match=r"labels\.<source>=PATH`"):
        RawTables({"ct_rate": {"path": None}}).load()


def test_only_named_tables_are_read(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("id\n7\n")
    tables = RawTables({"a": {"path": str(tmp_path / "own.csv")}, "b": {"path": None}}).load()
    assert {source: table["id"].tolist() for source, table in tables.items()} == {"a": ["7"]}


def test_every_cell_is_text_and_blank_is_empty(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes("\ufeffid,value\n007,NA\n008,\n".encode())
    table = RawTable(str(file), "labels.a").load()
    assert table.to_dict("list") == {"id": ["007", "008"], "value": ["NA", ""]}


def test_what_the_run_was_given_goes_first(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("id\n7\n")
    tables = {"a": {"path": str(tmp_path / "phantom.csv")}, "b": {"path": None}}
    found = RawTables(tables, given={"a": None, "new_hospital": str(tmp_path / "own.csv")}).load()
    assert list(found) == ["new_hospital"]
