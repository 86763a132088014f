import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest

from hyperct_pipeline.errors import StoreError
from hyperct_pipeline.volumes.store import StoredVolume, StoreForm, VolumeStore

STORED = StoredVolume(
    hu=np.random.default_rng(5).integers(-1000, 1000, (6, 4, 5)).astype(np.int16),  # more than one compact chunk
    affine=np.array([[1 / 3, 0, 0, 0.1], [0, 2, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1]]),
    grid_shape_zyx=(9, 4, 5),
    kept_slices=np.array([0, 2, 3, 4, 5, 8]),
    preprocess_digest="abc",
)
OTHER: dict[StoreForm, StoreForm] = {"mapped": "compact", "compact": "mapped"}
NEW = StoredVolume(STORED.hu[:1], STORED.affine, (9, 4, 5), np.array([3]), "new")
both_forms = pytest.mark.parametrize("form", OTHER)


@both_forms
def test_round_trip_is_exact(tmp_path: Path, form: StoreForm) -> None:
    store = VolumeStore(tmp_path / "store")
    assert "s1" not in store
    store.put("s1", STORED, form)
    again = store.get("s1")
    assert "s1" in store and store.forms("s1") == [form]
    for name in ("hu", "affine", "kept_slices"):
        np.testing.assert_array_equal(getattr(again, name), getattr(STORED, name))
    assert (again.grid_shape_zyx, again.preprocess_digest) == ((9, 4, 5), "abc")
    assert again.digest() == STORED.digest()


def test_mapped_voxels_are_mapped_and_read_only(tmp_path: Path) -> None:
    store = VolumeStore(tmp_path)
    store.put("s1", STORED)
    hu = store.get("s1").hu
    assert isinstance(hu, np.memmap) and not hu.flags.writeable


def test_file_is_an_ordinary_npy(tmp_path: Path) -> None:
    VolumeStore(tmp_path).put("s1", STORED)
    np.testing.assert_array_equal(np.load(tmp_path / "s1.npy"), STORED.hu)


def test_absent_key_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"No stored volume s9.*--pipelines=preprocess"):
        VolumeStore(tmp_path).get("s9")


@pytest.mark.parametrize("key", ["", "../x", "a/b", ".hidden", "a b"])
def test_key_cannot_leave_the_folder(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="store key"):
        VolumeStore(tmp_path).put(key, STORED)


@both_forms
def test_every_cut_and_every_changed_end_is_noticed(tmp_path: Path, form: StoreForm) -> None:
    store = VolumeStore(tmp_path)
    store.put("s1", STORED, form)
    path = store.path_of("s1", form)
    content = path.read_bytes()
    for end in range(0, len(content), 7):  # from an empty file on
        path.write_bytes(content[:end])
        with pytest.raises(StoreError, match="damaged"):
            store.get("s1")
        assert not store.holds("s1", STORED.digest())
    path.write_bytes(content + b"x")
    with pytest.raises(StoreError, match="damaged"):
        store.get("s1")


def test_a_flipped_bit_of_a_compact_volume_is_noticed_when_it_is_read(tmp_path: Path) -> None:
    store = VolumeStore(tmp_path)
    store.put("s1", STORED, "compact")
    path = store.path_of("s1", "compact")
    content = path.read_bytes()
    voxels = range(content.index(b'{"affine"'))
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        assert store.holds("s1", STORED.digest()) == (position in voxels), position
        assert not store.holds("s1", STORED.digest(), verify=True)
        for read in (store.verify, lambda key: np.asarray(store.get(key).hu)):
            with pytest.raises(StoreError, match=r"s1 is damaged.*--pipelines=preprocess"):
                read("s1")


def test_a_flipped_bit_is_noticed_outside_the_voxels_at_once_and_within_on_demand(tmp_path: Path) -> None:
    store = VolumeStore(tmp_path)
    store.put("s1", STORED)
    content = (tmp_path / "s1.npy").read_bytes()
    voxels = range(content.index(b"\n") + 1, content.index(b"\n") + 1 + STORED.hu.nbytes)
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        (tmp_path / "s1.npy").write_bytes(damaged)
        assert store.holds("s1", STORED.digest()) == (position in voxels), position
        assert not store.holds("s1", STORED.digest(), verify=True)
        with pytest.raises(StoreError, match=r"s1 is damaged.*--pipelines=preprocess"):
            store.verify("s1")


def test_holds_tells_volumes_apart(tmp_path: Path) -> None:
    store = VolumeStore(tmp_path)
    assert not store.holds("s1", STORED.digest())
    store.put("s1", STORED)
    assert store.holds("s1", STORED.digest()) and store.holds("s1", STORED.digest(), verify=True)
    np.testing.assert_array_equal(store.verify("s1").hu, STORED.hu)
    assert not store.holds("s1", "0" * 64)


def test_digest_follows_voxels_and_description() -> None:
    changed = STORED.hu.copy()
    changed[0, 0, 0] += 1
    variants = [
        STORED,
        dataclasses.replace(STORED, hu=changed),
        dataclasses.replace(STORED, affine=STORED.affine * 2),
        dataclasses.replace(STORED, kept_slices=np.array([0, 1, 3, 4, 5, 8])),
        dataclasses.replace(STORED, preprocess_digest="abd"),
    ]
    assert len({variant.digest() for variant in variants}) == 5


def test_files_of_the_earlier_format_are_refused_with_the_remedy(tmp_path: Path) -> None:
    store = VolumeStore(tmp_path)
    with (tmp_path / "s1.npy").open("wb") as stream:
        np.save(stream, STORED.hu)
        text = json.dumps(STORED.description()).encode()
        stream.write(text + len(text).to_bytes(8, "little") + b"HCTSTOR1")
    with pytest.raises(StoreError, match=r"earlier format without a digest.*--pipelines=preprocess"):
        store.get("s1")


@pytest.mark.parametrize("new_form", OTHER)
@both_forms
def test_kill_during_a_write_leaves_the_old_volume(tmp_path: Path, monkeypatch, form, new_form) -> None:
    store = VolumeStore(tmp_path)
    store.put("s1", STORED, form)
    before = store.path_of("s1", form).read_bytes()

    def killed(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        store.put("s1", NEW, new_form)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [before]
    assert store.get("s1").preprocess_digest == "abc"


@both_forms
def test_kill_between_a_write_and_the_removal_of_the_other_form(tmp_path: Path, monkeypatch, form) -> None:
    store = VolumeStore(tmp_path)
    store.put("s1", STORED, OTHER[form])

    def killed(self: Path, missing_ok: bool = False) -> None:
        if self == store.path_of("s1", OTHER[form]):
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Path, "unlink", killed)
        store.put("s1", NEW, form)
    assert store.forms("s1") == ["mapped", "compact"]
    assert store.get("s1").digest() in {STORED.digest(), NEW.digest()}  # one of them, whole
    assert not store.holds("s1", NEW.digest(), form=form)  # so a re-run writes it again
    store.put("s1", NEW, form)
    assert store.holds("s1", NEW.digest(), form=form)


@both_forms
def test_a_volume_is_kept_in_one_form_and_the_store_reads_both(tmp_path: Path, form: StoreForm) -> None:
    store = VolumeStore(tmp_path)
    store.put("s1", STORED, OTHER[form])
    store.put("s2", STORED, OTHER[form])
    store.put("s1", NEW, form)
    assert (store.forms("s1"), store.forms("s2")) == ([form], [OTHER[form]])
    assert (store.verify("s1").digest(), store.verify("s2").digest()) == (NEW.digest(), STORED.digest())
    store.require(["s1", "s2"])
    assert store.holds("s1", NEW.digest(), form=form) and not store.holds("s1", NEW.digest(), form=OTHER[form])


@both_forms
def test_a_file_under_the_name_of_the_other_form_is_damaged(tmp_path: Path, form: StoreForm) -> None:
    store = VolumeStore(tmp_path)
    store.put("s1", STORED, form)
    store.path_of("s1", form).rename(store.path_of("s1", OTHER[form]))
    with pytest.raises(StoreError, match="s1 is damaged"):
        store.get("s1")


def test_slices_and_grid_must_agree() -> None:
    with pytest.raises(ValueError, match="2 kept slices"):
        StoredVolume(STORED.hu, STORED.affine, (9, 4, 5), np.array([0, 2]), "abc")
