import builtins
import io
from pathlib import Path

import numpy as np
import pytest

from hyperct_pipeline.errors import StoreError
from hyperct_pipeline.volumes.compact_voxels import CompactVoxels, write_compact
from hyperct_pipeline.volumes.slices import SliceConfig, hu_triplets
from hyperct_pipeline.volumes.store import StoredVolume, VolumeStore

HU = np.random.default_rng(3).integers(-1000, 1000, (11, 9, 10)).astype(np.int16)


def compact(hu: np.ndarray) -> CompactVoxels:
    stream = io.BytesIO()
    meta = write_compact(stream, hu)
    return CompactVoxels("s1", np.frombuffer(stream.getvalue(), np.uint8), hu.shape, **meta)


def decoded_chunks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Fills with the numbers of the chunks that are decoded from now on."""
    numbers, decode = [], CompactVoxels._decoded

    def counting(self: CompactVoxels, chunk: int) -> np.ndarray:
        numbers.append(int(chunk))
        return decode(self, chunk)

    monkeypatch.setattr(CompactVoxels, "_decoded", counting)
    return numbers


@pytest.mark.parametrize(
    "index",
    [
        np.s_[:],
        np.s_[3],
        np.s_[-1],
        np.s_[2:7],
        np.s_[::-2],
        np.s_[5:5],
        np.s_[[7, 0, 7]],
        np.s_[np.array([[0, 1, 2], [8, 9, 10]])],
        np.s_[HU[:, 0, 0] > 0],
        np.s_[:, 2:5, 1:],
        np.s_[4, ::-1, ::-1],
        np.s_[[9, 1], 1:4],
        np.s_[:, 3, 4],
        np.s_[2, 3, 4],
    ],
)
def test_an_index_gives_what_an_array_gives(index) -> None:
    found = compact(HU)[index]
    np.testing.assert_array_equal(found, HU[index])
    assert np.asarray(found).dtype == np.int16


@pytest.mark.parametrize("index", [np.s_[..., 0], np.s_[None], np.s_[0, ..., 0]])
def test_an_index_that_would_mean_something_else_is_refused(index) -> None:
    with pytest.raises(IndexError, match="slices first"):
        compact(HU)[index]


def test_a_slice_that_is_not_there() -> None:
    with pytest.raises(IndexError, match="out of bounds"):
        compact(HU)[11]


def test_it_passes_for_an_array() -> None:
    voxels = compact(HU)
    assert (voxels.shape, voxels.ndim, voxels.dtype, len(voxels)) == (HU.shape, 3, np.int16, 11)
    np.testing.assert_array_equal(np.asarray(voxels, dtype=np.float32), HU.astype(np.float32))
    assert compact(HU[:, :, ::2])[:].tobytes() == HU[:, :, ::2].tobytes()


def test_only_the_chunks_of_wanted_slices_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = decoded_chunks(monkeypatch)
    compact(HU)[[0, 10, 1], 2:3]
    assert numbers == [0, 2]


@pytest.mark.parametrize("layout", ["upright", "reference"])
@pytest.mark.parametrize("n_triplets", [1, 2, 5])
@pytest.mark.parametrize("crop", [6, 12])
def test_the_same_triplets_as_from_an_array(layout, n_triplets: int, crop: int) -> None:
    config = SliceConfig(crop_yx=(crop, crop), n_triplets=n_triplets, layout=layout)
    for seed in (None, 0, 1):
        made = [
            hu_triplets(hu, config, None if seed is None else np.random.default_rng(seed)) for hu in (HU, compact(HU))
        ]
        for mapped, packed in zip(*made, strict=True):
            np.testing.assert_array_equal(mapped, packed)


def test_few_triplets_decode_few_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = decoded_chunks(monkeypatch)
    hu_triplets(compact(np.zeros((60, 8, 8), np.int16)), SliceConfig(crop_yx=(8, 8), n_triplets=2), None)
    assert numbers == [0, 14]


def test_without_the_codec_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = VolumeStore(tmp_path)
    stored = StoredVolume(HU, np.eye(4), HU.shape, np.arange(11), "abc")
    store.put("s1", stored, "compact")
    usual = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name == "imagecodecs":
            raise ModuleNotFoundError(name)
        return usual(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    for use in (lambda: np.asarray(store.get("s1").hu), lambda: store.put("s1", stored, "compact")):
        with pytest.raises(StoreError, match=r"pip install imagecodecs.*preprocess\.store=mapped"):
            use()
    store.put("s2", stored)
    np.testing.assert_array_equal(store.get("s2").hu, HU)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["s1.blosc2", "s2.npy"]
