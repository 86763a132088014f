from pathlib import Path

import pytest

from hyperct_pipeline.datasets import FileFolder


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_bytes_and_functions_that_make_them(tmp_path: Path) -> None:
    folder = FileFolder(str(tmp_path / "pages"), ".html")
    assert folder.load() == {} and not folder.exists()
    folder.save({"index": b"one", "page_2": lambda: b"two"})
    assert names(tmp_path / "pages") == ["index.html", "page_2.html"]
    assert {key: read() for key, read in folder.load().items()} == {"index": b"one", "page_2": b"two"}


def test_what_an_earlier_run_left_is_removed_unless_it_accumulates(tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("not ours")
    FileFolder(str(tmp_path), ".png").save({"a": b"1", "b": b"2"})
    FileFolder(str(tmp_path), ".png", accumulate=True).save({"c": b"3"})
    assert names(tmp_path) == ["a.png", "b.png", "c.png", "other.txt"]
    FileFolder(str(tmp_path), ".png").save({"c": b"4"})
    assert names(tmp_path) == ["c.png", "other.txt"]


def test_a_failure_leaves_the_earlier_files(tmp_path: Path) -> None:
    folder = FileFolder(str(tmp_path), ".html")
    folder.save({"index": b"old", "page_2": b"old"})

    def broken() -> bytes:
        raise RuntimeError("no picture")

    with pytest.raises(Exception, match="no picture"):
        folder.save({"index": broken})
    assert names(tmp_path) == ["index.html", "page_2.html"]
    assert folder.load()["index"]() == b"old"
