from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hyperct_pipeline.volumes.preprocess_report import preprocess_all, preprocess_table
from hyperct_pipeline.volumes.preprocessing import PreprocessConfig
from hyperct_pipeline.volumes.store import StoredVolume, VolumeStore
from hyperct_pipeline.volumes.volume import Volume, write_nifti

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


def keep(found: Iterable[tuple[dict[str, Any], StoredVolume | None]], store: VolumeStore) -> dict[str, dict[str, Any]]:
    """What Kedro does with the chunks of the node: volumes into the store, rows by key."""
    rows = {}
    for row, stored in found:
        if stored:
            store.put(row["study_key"], stored)
        rows[row["study_key"]] = row
    return rows


@pytest.fixture
def found(files) -> dict:
    written = files(**VOLUMES)
    written["e"].path.write_bytes(b"damaged")
    return written


@pytest.fixture
def store(tmp_path: Path) -> VolumeStore:
    return VolumeStore(tmp_path / "store")


def test_every_study_has_a_row_and_the_good_ones_a_volume(found, store: VolumeStore) -> None:
    rows = keep(preprocess_all(QUALITY, found, {}, store, CONFIG), store)
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
    rows = keep(preprocess_all(QUALITY, found, {}, store, CONFIG), store)
    assert rows["a"]["reason_codes"] == "NIFTI_CHANGED" and "a" not in store
    assert rows["b"]["reason_codes"] == "NIFTI_MISSING" and "b" not in store


def test_what_quality_could_not_read_failed_and_was_not_refused(found, store: VolumeStore) -> None:
    quality = QUALITY.assign(verdict="reject", reason_codes="NIFTI_MISSING")
    rows = keep(preprocess_all(quality, {}, {}, store, CONFIG), store)
    assert {(row["status"], row["reason_codes"]) for row in rows.values()} == {("failed", "NIFTI_MISSING")}


def test_only_what_is_new_or_changed_is_done_again(found, store: VolumeStore) -> None:
    done = keep(preprocess_all(QUALITY, found, {}, store, CONFIG), store)

    def again(quality: pd.DataFrame, config: PreprocessConfig = CONFIG) -> set[str]:
        return {row["study_key"] for row, _ in preprocess_all(quality, found, done, store, config)}

    assert again(QUALITY) == DUE_AGAIN
    assert again(QUALITY.assign(content_sha256=["x", *QUALITY["content_sha256"][1:]])) == DUE_AGAIN | {"a"}
    assert again(QUALITY.assign(verdict="accept", reason_codes="")) == DUE_AGAIN | {"c"}  # b is as usable as before
    assert again(QUALITY, PreprocessConfig(shape_zyx=(4, 5, 7))) == set("abcde")


def test_a_stored_file_that_is_gone_cut_or_replaced_is_made_again(found, store: VolumeStore) -> None:
    done = keep(preprocess_all(QUALITY, found, {}, store, CONFIG), store)
    whole = store.path_of("a").read_bytes()

    def again(config: PreprocessConfig = CONFIG) -> set[str]:
        return {row["study_key"] for row, _ in preprocess_all(QUALITY, found, done, store, config)} - DUE_AGAIN

    for content in (None, b"", whole[:-1], whole[:200], store.path_of("b").read_bytes()):
        store.path_of("a").unlink()
        if content is not None:
            store.path_of("a").write_bytes(content)
        assert again() == {"a"}
        keep(preprocess_all(QUALITY, found, done, store, CONFIG), store)
        assert store.path_of("a").read_bytes() == whole
    voxel = bytearray(whole)
    voxel[130] ^= 1
    store.path_of("a").write_bytes(voxel)
    assert again() == set() and again(VERIFY) == {"a"}


def test_rows_of_an_earlier_release_are_done_again(found, store: VolumeStore) -> None:
    done = keep(preprocess_all(QUALITY, found, {}, store, CONFIG), store)
    earlier = {key: {k: v for k, v in row.items() if k != "volume_sha256"} for key, row in done.items()}
    again = {row["study_key"] for row, _ in preprocess_all(QUALITY, found, earlier, store, CONFIG)}
    assert again == DUE_AGAIN | {"a", "b"}
