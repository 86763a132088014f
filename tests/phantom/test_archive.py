import hashlib
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from hyperct_pipeline.errors import ArchiveError
from hyperct_pipeline.phantom import PhantomConfig, write_phantom
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


@pytest.mark.parametrize("where", [".", "dicom", "labels", "dicom.partial"])
def test_a_folder_of_someone_else_is_refused_and_untouched(tmp_path: Path, where: str) -> None:
    place = tmp_path / where
    place.mkdir(exist_ok=True)
    (place / "scan.dcm").write_bytes(b"real")
    with pytest.raises(ArchiveError, match=r"no PHANTOM\.json"):
        write_phantom(tmp_path, TINY)
    assert digests(tmp_path) == {str(Path(where) / "scan.dcm"): hashlib.sha256(b"real").hexdigest()}


def test_the_rest_of_a_killed_run_is_cleared(tmp_path: Path) -> None:
    write_phantom(tmp_path, TINY)
    (tmp_path / "dicom").rename(tmp_path / "dicom.partial")
    write_phantom(tmp_path, TINY)
    assert not (tmp_path / "dicom.partial").exists()
    assert (tmp_path / "dicom").is_dir()


def test_progress_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        write_phantom(tmp_path, replace(TINY, n_broken=0))
    assert "Phantom: 7 of 7 studies" in caplog.text
