from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hyperct_pipeline.errors import UnwritableError
from hyperct_pipeline.study_workers import WorkersConfig
from hyperct_pipeline.volumes.converted import NiftiFiles
from hyperct_pipeline.volumes.due import Row, Rows
from hyperct_pipeline.volumes.nifti_file import write_nifti
from hyperct_pipeline.volumes.preprocess_report import (
    preprocess_all,
    preprocess_study,
    preprocess_table,
    studies_due,
)
from hyperct_pipeline.volumes.preprocessing import PreprocessConfig
from hyperct_pipeline.volumes.store import VolumeStore
from hyperct_pipeline.volumes.volume import Volume

CONFIG = PreprocessConfig(shape_zyx=(4, 5, 6))
VERIFY = PreprocessConfig(shape_zyx=(4, 5, 6), verify_store=True)


def volume(hu: int = 40) -> Volume:
    return Volume(np.full((8, 8, 8), hu, dtype=np.int16), np.eye(4))


VOLUMES = {"a": volume(), "b": volume(41), "c": volume(42), "d": volume(-1024), "e": volume(43)}
QUALITY = pd.DataFrame(
    {
        "study_key": list("abcde"),
        "verdict": ["accept", "warn", "reject", "accept", "accept"],
        "reason_codes": ["", "LOW_LUNG_SHARE", "LOW_LUNG_SHARE", "", ""],
        "content_sha256": [volume.digest() for volume in VOLUMES.values()],
    }
)
DUE_AGAIN = {"d", "e"}  # what failed is tried again


def preprocessed(quality: pd.DataFrame, files: NiftiFiles, done: Rows, store: VolumeStore) -> dict[str, Row]:
    """Rows by key of what was due, which is done here and not in a process."""
    due = studies_due(quality, files, done, store, CONFIG)
    return {study.wanted["study_key"]: preprocess_study(study, store, CONFIG) for study in due}


def due(
    quality: pd.DataFrame, files: NiftiFiles, done: Rows, store: VolumeStore, config: PreprocessConfig = CONFIG
) -> set[str]:
    return {study.wanted["study_key"] for study in studies_due(quality, files, done, store, config)}


@pytest.fixture
def found(files) -> dict:
    written = files(**VOLUMES)
    written["e"].path.write_bytes(b"damaged")
    return written


@pytest.fixture
def store(tmp_path: Path) -> VolumeStore:
    return VolumeStore(tmp_path / "store")


def test_every_study_has_a_row_and_the_good_ones_a_volume(found, store: VolumeStore) -> None:
    rows = preprocessed(QUALITY, found, {}, store)
    table = preprocess_table(QUALITY, rows | {"stale": {}})
    assert table.set_index("study_key")[["status", "reason_codes"]].to_dict("index") == {
        "a": {"status": "stored", "reason_codes": ""},
        "b": {"status": "stored", "reason_codes": ""},
        "c": {"status": "refused", "reason_codes": "QUALITY_REJECT"},
        "d": {"status": "failed", "reason_codes": "EMPTY_VOLUME"},
        "e": {"status": "failed", "reason_codes": "NIFTI_UNREADABLE"},
    }
    assert table.loc[0, ["volume", "shape", "n_slices"]].tolist() == ["a", "4;5;6", 4]
    assert table.loc[0, "volume_sha256"] == store.verify("a").digest()
    assert table.loc[2:, ["volume", "volume_sha256", "shape", "n_slices"]].isna().all(axis=None)
    assert set(table["preprocess_digest"]) == {CONFIG.digest()}
    assert "parameters_quality.yml" in table.loc[2, "message"] and "--pipelines=convert" in table.loc[4, "message"]


def test_a_volume_that_is_not_the_manifest_s_is_never_stored(found, store: VolumeStore) -> None:
    write_nifti(VOLUMES["b"], found["a"].path)
    found["b"].path.unlink()
    rows = preprocessed(QUALITY, found, {}, store)
    assert rows["a"]["reason_codes"] == "NIFTI_CHANGED" and "a" not in store
    assert rows["b"]["reason_codes"] == "NIFTI_MISSING" and "b" not in store


def test_what_quality_could_not_read_failed_and_was_not_refused(found, store: VolumeStore) -> None:
    quality = QUALITY.assign(verdict="reject", reason_codes="NIFTI_MISSING")
    rows = preprocessed(quality, {}, {}, store)
    assert {(row["status"], row["reason_codes"]) for row in rows.values()} == {("failed", "NIFTI_MISSING")}


def test_only_what_is_new_or_changed_is_done_again(found, store: VolumeStore) -> None:
    done = preprocessed(QUALITY, found, {}, store)

    def again(quality: pd.DataFrame, config: PreprocessConfig = CONFIG) -> set[str]:
        return due(quality, found, done, store, config)

    assert again(QUALITY) == DUE_AGAIN
    assert again(QUALITY.assign(content_sha256=["x", *QUALITY["content_sha256"][1:]])) == DUE_AGAIN | {"a"}
    assert again(QUALITY.assign(verdict="accept", reason_codes="")) == DUE_AGAIN | {"c"}  # b is as usable as before
    assert again(QUALITY, PreprocessConfig(shape_zyx=(4, 5, 7))) == set("abcde")


def test_a_stored_file_that_is_gone_cut_or_replaced_is_made_again(found, store: VolumeStore) -> None:
    done = preprocessed(QUALITY, found, {}, store)
    whole = store.path_of("a").read_bytes()

    def again(config: PreprocessConfig = CONFIG) -> set[str]:
        return due(QUALITY, found, done, store, config) - DUE_AGAIN

    for content in (None, b"", whole[:-1], whole[:200], store.path_of("b").read_bytes()):
        store.path_of("a").unlink()
        if content is not None:
            store.path_of("a").write_bytes(content)
        assert again() == {"a"}
        preprocessed(QUALITY, found, done, store)
        assert store.path_of("a").read_bytes() == whole
    voxel = bytearray(whole)
    voxel[130] ^= 1
    store.path_of("a").write_bytes(voxel)
    assert again() == set() and again(VERIFY) == {"a"}


def test_another_form_of_the_store_writes_every_volume_again(found, store: VolumeStore) -> None:
    done, before = preprocessed(QUALITY, found, {}, store), store.verify("a").digest()
    for form in ("compact", "mapped"):
        config = PreprocessConfig(shape_zyx=(4, 5, 6), store=form)
        todo = studies_due(QUALITY, found, done, store, config)
        assert {study.wanted["study_key"] for study in todo} == DUE_AGAIN | {"a", "b"}
        rows = list(preprocess_all(todo, store, config))
        assert {row["study_key"]: row for row in rows if row["status"] == "stored"} == {k: done[k] for k in "ab"}
        assert store.forms("a") == store.forms("b") == [form] and store.verify("a").digest() == before
        assert due(QUALITY, found, done, store, config) == DUE_AGAIN
    assert sorted(file.name for file in store.root.iterdir()) == ["a.npy", "b.npy"]


def test_rows_of_an_earlier_release_are_done_again(found, store: VolumeStore) -> None:
    done = preprocessed(QUALITY, found, {}, store)
    earlier = {key: {k: v for k, v in row.items() if k != "volume_sha256"} for key, row in done.items()}
    assert due(QUALITY, found, earlier, store) == DUE_AGAIN | {"a", "b"}


@pytest.mark.parametrize("n_workers", [1, 2])
def test_study_processes_make_the_same_rows_and_bytes(found, store: VolumeStore, tmp_path: Path, n_workers) -> None:
    here = preprocessed(QUALITY, found, {}, store)
    elsewhere = VolumeStore(tmp_path / "elsewhere")
    todo = studies_due(QUALITY, found, {}, elsewhere, CONFIG)
    rows = list(preprocess_all(todo, elsewhere, CONFIG, WorkersConfig(n_workers)))
    assert {row["study_key"]: row for row in rows} == here
    for key in "ab":
        assert store.path_of(key).read_bytes() == elsewhere.path_of(key).read_bytes()


def test_a_study_that_takes_too_much_is_a_row(found, store: VolumeStore) -> None:
    todo = studies_due(QUALITY[:1], found, {}, store, CONFIG)
    (row,) = preprocess_all(todo, store, CONFIG, WorkersConfig(time_limit_s=1e-6))
    assert (row["status"], row["reason_codes"]) == ("failed", "TIME_LIMIT")
    assert "study_workers.time_limit_s" in row["message"]
    assert due(QUALITY[:1], found, {"a": row}, store) == {"a"}


def test_a_store_that_cannot_be_written_is_one_error(found, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = VolumeStore(tmp_path / "file" / "store")
    with pytest.raises(UnwritableError, match="is the disk full"):
        list(preprocess_all(studies_due(QUALITY, found, {}, VolumeStore(tmp_path), CONFIG), store, CONFIG))
