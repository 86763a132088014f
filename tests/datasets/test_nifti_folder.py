"""Volumes of earlier runs stay or go as the catalog says."""

import numpy as np
import pytest

from hyperct_pipeline.datasets import NiftiFolder
from hyperct_pipeline.volumes.volume import Volume


def volume(value: int) -> Volume:
    return Volume(np.full((2, 3, 4), value, np.int16), np.eye(4))


@pytest.mark.parametrize(
    ("earlier", "after_empty", "after_second"),
    [("kept", ["a"], ["a", "b"]), ("replaced", [], ["b"]), ("emptied", [], ["b"])],
)
def test_what_becomes_of_earlier_files(tmp_path, earlier, after_empty, after_second) -> None:
    folder = NiftiFolder(str(tmp_path / "maps"), earlier=earlier)
    folder.save({"a": volume(1)})
    folder.save({})
    assert sorted(folder.load()) == after_empty
    folder.save({"b": volume(2)})
    assert sorted(folder.load()) == after_second
    assert (folder.load()["b"]().hu == 2).all()


def test_volumes_yielded_one_by_one_add_up(tmp_path) -> None:
    folder = NiftiFolder(str(tmp_path / "maps"), earlier="emptied")
    for chunk in ({}, {"a": volume(1)}, {"b": volume(2)}):
        folder.save(chunk)
    assert sorted(folder.load()) == ["a", "b"]
