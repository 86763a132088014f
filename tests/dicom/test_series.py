import logging
import os
from pathlib import Path

import numpy as np
import pytest

from hyperct_pipeline.dicom.archive import walk
from hyperct_pipeline.dicom.index import index_series
from hyperct_pipeline.errors import ArchiveError
from hyperct_pipeline.study_workers import WorkersConfig

HU = np.zeros((4, 4, 6), dtype=np.int16)


def test_walk_is_sorted_and_passes_over_what_is_no_file(tmp_path: Path) -> None:
    for name in ("b/2", "b/1", "a/x y", "c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    os.mkfifo(tmp_path / "a" / "fifo")
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to("self")
    assert [os.path.relpath(path, tmp_path) for path in walk(tmp_path)] == ["c", "a/x y", "b/1", "b/2"]


@pytest.mark.parametrize("kind", ["absent", "empty", "junk only"])
def test_no_archive_names_both_ways_out_and_no_path(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "SECRETNAME"
    if kind != "absent":
        root.mkdir()
    if kind == "junk only":
        (root / "notes.txt").write_text("nothing")
    with pytest.raises(ArchiveError, match=r"kedro run --pipeline=phantom.*--params=dicom_root=PATH") as caught:
        index_series(root)
    assert "SECRETNAME" not in str(caught.value)


def test_series_scattered_over_folders_is_one_group(write_series, tmp_path: Path) -> None:
    paths = write_series(HU)
    (tmp_path / "archive" / "elsewhere").mkdir()
    paths[2].rename(tmp_path / "archive" / "elsewhere" / "IM")
    (group,) = index_series(tmp_path / "archive")
    assert len(group.headers) == 4


def test_junk_is_counted_in_log_and_problems(write_series, tmp_path: Path, caplog) -> None:
    paths = write_series(HU)
    write_series(HU, folder="clean")
    (paths[0].parent / "thumbs.db").write_bytes(b"CANARY")
    with caplog.at_level(logging.INFO):
        groups = list(index_series(tmp_path / "archive"))
    assert sorted(group.problems for group in groups) == [(), ("NOT_DICOM_FILES",)]
    assert "9 files: 8 DICOM, passed over {'NOT_DICOM': 1}" in caplog.text
    assert str(tmp_path) not in caplog.text


def test_localizer_and_other_matrix_become_groups_of_their_own(write_series, tmp_path: Path) -> None:
    uid = {"SeriesInstanceUID": "1.2.3"}
    write_series(HU, tags=uid)
    scout = uid | {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
    write_series(HU[:1], folder="scout", orientation=(1, 0, 0, 0, 0, -1), tags=scout)
    groups = list(index_series(tmp_path / "archive"))
    assert [(group.number, len(group.headers), group.problems) for group in groups] == [
        (0, 4, ("LOCALIZER_DROPPED",)),
        (1, 1, ()),
    ]
    write_series(HU[:1, :2], folder="small", tags=uid)
    assert all("MATRIX_VARIES" in group.problems for group in list(index_series(tmp_path / "archive"))[:2])


def test_acquisitions_split_only_where_they_overlap(write_series, tmp_path: Path) -> None:
    step_and_shoot = {index: {"AcquisitionNumber": index + 1} for index in range(4)}
    write_series(HU, per_image=step_and_shoot)
    assert [len(group.headers) for group in index_series(tmp_path / "archive")] == [4]
    uid = {"SeriesInstanceUID": "1.2.4"}
    for number in (1, 2):
        write_series(HU, folder=f"dynamic{number}", tags=uid | {"AcquisitionNumber": number})
    split = [group for group in index_series(tmp_path / "archive") if group.series_uid == "1.2.4"]
    assert [(len(group.headers), group.problems) for group in split] == [(4, ("MULTIPLE_ACQUISITIONS",))] * 2


def test_blank_uids_are_told_apart_by_folder(write_series, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_series(HU, folder=folder, tags={"StudyInstanceUID": "", "SeriesInstanceUID": ""})
    groups = list(index_series(tmp_path / "archive"))
    assert len({group.study_uid for group in groups}) == 2
    assert all(group.problems == ("MISSING_UID",) for group in groups)
    assert "archive" not in groups[0].study_uid  # the key survives a move of the archive


def test_folder_that_cannot_be_opened_is_listed(write_series, tmp_path: Path, monkeypatch) -> None:
    write_series(HU)
    hidden = tmp_path / "archive" / "CANARY"
    hidden.mkdir()
    scandir = os.scandir

    def closed(path):
        if path == os.fspath(hidden):
            raise PermissionError
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    index = index_series(tmp_path / "archive")
    assert [lost.reason for lost in index.lost] == ["UNREADABLE_FOLDER"] and "CANARY" not in repr(index.lost)


def test_folder_in_which_no_image_can_be_read_is_listed(write_series, tmp_path: Path) -> None:
    write_series(HU)
    for path in write_series(HU, folder="broken"):
        path.write_bytes(path.read_bytes()[:140] + b"\xff" * 60)
    index = index_series(tmp_path / "archive")
    assert [(lost.name, lost.reason) for lost in index.lost] == [("broken", "UNREADABLE_FILES")]
    assert len(list(index)) == 1


def test_many_files_are_read_by_processes_and_give_the_same(write_series, tmp_path: Path, monkeypatch) -> None:
    for number in range(3):
        write_series(HU, folder=f"s{number}")
    alone = list(index_series(tmp_path / "archive"))
    monkeypatch.setattr("hyperct_pipeline.dicom.index.FILES_WORTH_A_POOL", 5)
    monkeypatch.setattr("hyperct_pipeline.dicom.index.FILES_PER_CHUNK", 2)
    assert list(index_series(tmp_path / "archive", WorkersConfig(n_workers=2))) == alone
