import os
import time
from pathlib import Path

import pytest

from hyperct_pipeline.atomic_file import remove_abandoned, replacing, replacing_folder


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.nii.gz"
    with replacing(target) as draft:
        draft.write_text("one")
        assert not target.exists() and draft.name.endswith("a.nii.gz")
    with pytest.raises(KeyError), replacing(target) as draft:
        draft.write_text("two")
        raise KeyError
    assert target.read_text() == "one" and list(target.parent.iterdir()) == [target]


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    for name in ("one", "two"):
        with replacing_folder(target) as draft:
            (draft / name).touch()
    with pytest.raises(KeyError), replacing_folder(target) as draft:
        raise KeyError
    assert [file.name for file in target.iterdir()] == ["two"] and list(tmp_path.iterdir()) == [target]


def test_only_drafts_that_nobody_writes_any_more_are_removed(tmp_path: Path) -> None:
    for name, age_s in ((".tmp-1-a.nii.gz", 100), (".tmp-2-b.nii.gz", 5), ("c.nii.gz", 100)):
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    remove_abandoned(tmp_path, older_than_s=50)
    assert sorted(file.name for file in tmp_path.iterdir()) == [".tmp-2-b.nii.gz", "c.nii.gz"]
