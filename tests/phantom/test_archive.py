import hashlib
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pydicom
import pytest

from hyperct_pipeline.errors import ArchiveError
from hyperct_pipeline.phantom import PhantomConfig, archive, write_phantom
from hyperct_pipeline.pseudonyms import PHANTOM_MARKER

TINY = PhantomConfig(
    n_development=3, n_internal_test=1, n_external_test=2, n_prospective_a=0, n_prospective_b=1,
    n_broken=2, n_unlabelled=1, matrix=32, n_workers=1,
)  # fmt: skip


def digests(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()
    }


def test_bytes_do_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    tables = write_phantom(tmp_path / "one", TINY)
    again = write_phantom(tmp_path / "two", replace(TINY, n_workers=2))
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    for first, second in zip(tables, again, strict=True):
        pd.testing.assert_frame_equal(first, second)


def test_another_seed_gives_another_archive(tmp_path: Path) -> None:
    write_phantom(tmp_path / "one", TINY)
    write_phantom(tmp_path / "two", replace(TINY, seed=1))
    first, second = (set(digests(tmp_path / name / "dicom").values()) for name in ("one", "two"))
    marker = hashlib.sha256((tmp_path / "one" / PHANTOM_MARKER).read_bytes()).hexdigest()
    # the broken studies' text files are the same everywhere, images are not
    assert first & second == {marker}


def test_a_new_run_replaces_the_archive_and_leaves_no_rest(tmp_path: Path) -> None:
    write_phantom(tmp_path, TINY)
    write_phantom(tmp_path, replace(TINY, n_development=1, n_broken=0))
    write_phantom(tmp_path / "alone", replace(TINY, n_development=1, n_broken=0))
    assert digests(tmp_path / "dicom") == digests(tmp_path / "alone" / "dicom")
    assert {p.name for p in tmp_path.iterdir()} == {"dicom", "labels", "alone", PHANTOM_MARKER}
    for place in (tmp_path, tmp_path / "dicom", tmp_path / "labels"):
        assert (place / PHANTOM_MARKER).is_file()


@pytest.mark.parametrize("where", [".", "dicom", "labels"])
def test_a_folder_of_someone_else_is_refused_and_untouched(tmp_path: Path, where: str) -> None:
    place = tmp_path / where
    place.mkdir(exist_ok=True)
    (place / "scan.dcm").write_bytes(b"real")
    with pytest.raises(ArchiveError, match=r"no PHANTOM\.json") as refusal:
        write_phantom(tmp_path, TINY)
    assert digests(tmp_path) == {str(Path(where) / "scan.dcm"): hashlib.sha256(b"real").hexdigest()}
    assert str(tmp_path) not in str(refusal.value)  # messages end up in logs, and folders may bear names


@pytest.mark.parametrize("where", ["dicom", "labels"])
def test_files_of_someone_else_inside_a_phantom_are_refused(tmp_path: Path, where: str) -> None:
    write_phantom(tmp_path, TINY)
    (tmp_path / where / PHANTOM_MARKER).unlink()
    before = digests(tmp_path)
    with pytest.raises(ArchiveError, match=f"folder '{where}' of phantom_folder"):
        write_phantom(tmp_path, TINY)
    assert digests(tmp_path) == before


def test_the_tables_on_disk_are_the_returned_ones(tmp_path: Path) -> None:
    tables = write_phantom(tmp_path, TINY)
    assert {p.name for p in (tmp_path / "labels").iterdir()} == {PHANTOM_MARKER, *(f"{n}.csv" for n in tables._fields)}
    for name in ("ct_rate", "hyperct_wide", "echo_metric", "cohorts"):
        read = pd.read_csv(tmp_path / "labels" / f"{name}.csv", dtype=str, keep_default_na=False)
        pd.testing.assert_frame_equal(read, getattr(tables, name), check_dtype=False)


def studies_on_disk(folder: Path) -> set[str]:
    files = [p for p in (folder / "dicom").rglob("*") if p.is_file() and p.read_bytes()[128:132] == b"DICM"]
    return {str(pydicom.dcmread(p, stop_before_pixels=True).StudyInstanceUID) for p in files}


@pytest.mark.parametrize("step", range(4))
def test_a_killed_run_never_leaves_tables_beside_other_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    old = write_phantom(tmp_path, TINY).truth["study_instance_uid"]
    move, moves = Path.rename, iter(range(4))

    def killed_at_step(place: Path, target: Path) -> Path:
        if next(moves) == step:
            raise KeyboardInterrupt
        return move(place, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed_at_step)
        with pytest.raises(KeyboardInterrupt):
            write_phantom(tmp_path, replace(TINY, seed=1))
    assert (tmp_path / "labels").exists() == (step == 0)  # the tables leave first and come last
    if step == 0:
        found = pd.read_csv(tmp_path / "labels" / "truth.csv")["study_instance_uid"]
        assert set(found) == set(old) == studies_on_disk(tmp_path)

    new = write_phantom(tmp_path, replace(TINY, seed=1)).truth["study_instance_uid"]
    assert studies_on_disk(tmp_path) == set(new)
    assert {p.name for p in tmp_path.iterdir()} == {"dicom", "labels", PHANTOM_MARKER}


@pytest.mark.parametrize("stage", ["write_study", "cohort_table"])
def test_a_run_killed_while_it_writes_leaves_the_old_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    write_phantom(tmp_path, TINY)
    before = {part: digests(tmp_path / part) for part in ("dicom", "labels")}
    monkeypatch.setattr(archive, stage, killed)
    with pytest.raises(KeyboardInterrupt):
        write_phantom(tmp_path, replace(TINY, seed=1))
    assert {part: digests(tmp_path / part) for part in ("dicom", "labels")} == before


def test_progress_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        write_phantom(tmp_path, replace(TINY, n_broken=0))
    assert "Phantom: 7 of 7 studies" in caplog.text
