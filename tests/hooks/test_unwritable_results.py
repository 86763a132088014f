import errno
import os
import resource
from pathlib import Path

import pandas as pd
import pytest
import safetensors
import torch
from kedro.io import DatasetError

from hyperct_pipeline.datasets import CsvTable, JsonDocument, RecordFolder, StudyTable, TextDocument
from hyperct_pipeline.hooks.unwritable_results import unwritable_results
from hyperct_pipeline.training.checkpoint import write_tensors

TABLE = pd.DataFrame({"study_key": ["s1"]})


def saved(folder: Path) -> dict[str, object]:
    """What saves one small dataset of each kind under a folder."""
    return {
        "csv": lambda: CsvTable(filepath=str(folder / "a.csv")).save(TABLE),
        "json": lambda: JsonDocument(filepath=str(folder / "a.json")).save({"a": 1}),
        "text": lambda: TextDocument(filepath=str(folder / "a.txt")).save("a"),
        "records": lambda: RecordFolder(path=str(folder / "rows")).save({"s1": {"a": 1}}),
        "table": lambda: StudyTable(filepath=str(folder / "a.parquet")).save(TABLE),
    }


KINDS = tuple(saved(Path()))


def told(save, data_root: Path) -> str:
    """What is said of the error that saving raises."""
    with pytest.raises((DatasetError, OSError)) as caught:
        save()
    return str(unwritable_results(caught.value, data_root))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_disk_is_a_sentence_without_a_path(kind: str, number: int, tmp_path: Path, monkeypatch) -> None:
    def full(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    message = told(saved(tmp_path)[kind], tmp_path)
    assert message.startswith(f"Results cannot be written under data_root ({os.strerror(number)}).")
    assert "--params=data_root=PATH" in message and str(tmp_path) not in message


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_where_a_folder_must_be(kind: str, tmp_path: Path) -> None:
    (tmp_path / "08_reporting").touch()
    message = told(saved(tmp_path / "08_reporting")[kind], tmp_path)
    assert "under data_root" in message and str(tmp_path) not in message


def test_what_is_wrong_with_an_input_is_not_said_of_the_results(tmp_path: Path) -> None:
    barred = PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "archive"))
    assert unwritable_results(barred, tmp_path / "results") is None
    assert unwritable_results(barred, tmp_path) is not None
    assert unwritable_results(FileNotFoundError(errno.ENOENT, "no", str(tmp_path / "x")), tmp_path) is None
    assert unwritable_results(KeyError("x"), tmp_path) is None


def test_safetensors_on_a_full_disk(tmp_path: Path, monkeypatch) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, hard))  # files may not grow beyond 16 bytes
    try:
        with pytest.raises(OSError) as caught:
            write_tensors(tmp_path / "x", {"a": torch.zeros(3000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "(File too large)" in str(unwritable_results(caught.value, tmp_path))

    def broken(*_: object) -> None:
        raise safetensors.SafetensorError("shapes do not fit")

    monkeypatch.setattr("hyperct_pipeline.training.checkpoint.save_file", broken)
    with pytest.raises(safetensors.SafetensorError, match="do not fit"):
        write_tensors(tmp_path / "x", {"a": torch.zeros(3)})
