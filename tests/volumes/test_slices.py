from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from safetensors import safe_open

from hyperct_pipeline.volumes.slices import AIR, SliceConfig, hu_triplets, triplet_plan, triplets, unproject
from hyperct_pipeline.volumes.store import StoredVolume

MEAN = np.array([0.485, 0.456, 0.406])[:, None, None]
STD = np.array([0.229, 0.224, 0.225])[:, None, None]


def random_hu(*shape: int) -> np.ndarray:
    return np.random.default_rng(11).integers(-1200, 1200, shape).astype(np.int16)


def stored(hu: np.ndarray, kept: list[int] | None = None, depth: int | None = None) -> StoredVolume:
    kept = list(range(len(hu))) if kept is None else kept
    return StoredVolume(hu, np.eye(4), (depth or len(hu), *hu.shape[1:]), np.array(kept), "d")


@pytest.mark.parametrize(
    ("n_slices", "n_triplets", "plan"),
    [
        (6, 9, [[0, 1, 2], [3, 4, 5]]),
        (7, 9, [[0, 1, 2], [3, 4, 5]]),  # the top one is left out
        (8, 9, [[1, 2, 3], [4, 5, 6]]),  # one at each end
        (15, 3, [[0, 1, 2], [6, 7, 8], [12, 13, 14]]),
        (1, 2, [[0, AIR, AIR]]),
        (2, 2, [[0, 1, AIR]]),
    ],
)
def test_plan(n_slices: int, n_triplets: int, plan: list[list[int]]) -> None:
    np.testing.assert_array_equal(triplet_plan(n_slices, n_triplets), plan)


def test_layout_against_a_plain_loop() -> None:
    hu = random_hu(7, 9, 8)
    config = SliceConfig(crop_yx=(4, 6), n_triplets=4)
    images, mask = triplets(hu, config, None)
    assert images.shape == (4, 3, 4, 6) and images.dtype == np.float32
    np.testing.assert_array_equal(mask, [True, True, False, False])
    air = -np.array([0.485, 0.456, 0.406]) / np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(images[2:], np.broadcast_to(air[:, None, None], (2, 3, 4, 6)), rtol=1e-5)
    top, left = (9 - 4) // 2, (8 - 6) // 2
    for n in range(2):
        for channel in range(3):
            for row in range(4):
                for column in range(6):
                    # the first row is the front: the largest y of the crop
                    value = hu[3 * n + channel, top + 3 - row, left + column]
                    unit = (np.clip(value, -1000, 1000) + 1000) / 2000
                    expected = (unit - MEAN[channel, 0, 0]) / STD[channel, 0, 0]
                    assert images[n, channel, row, column] == pytest.approx(expected, abs=1e-5)


def test_small_volume_is_surrounded_by_air() -> None:
    hu = np.full((3, 2, 2), 1000, dtype=np.int16)
    images, _ = triplets(hu, SliceConfig(crop_yx=(4, 5), n_triplets=1), None)
    unit = images[0] * STD + MEAN
    expected = np.zeros((4, 5))
    expected[1:3, 2:4] = 1  # 3 columns of air: 2 left, 1 right
    np.testing.assert_allclose(unit, np.broadcast_to(expected, (3, 4, 5)), atol=1e-6)


def test_random_crops_reach_every_place_and_nothing_else() -> None:
    hu = np.zeros((3, 6, 7), dtype=np.int16)
    hu[:] = 100 * np.arange(6)[:, None] + 10 * np.arange(7)
    config = SliceConfig(crop_yx=(4, 4), n_triplets=1)
    generator = np.random.default_rng(0)
    corners = set()
    for _ in range(300):
        images, _ = triplets(hu, config, generator)
        corners.add(int(np.rint((images[0, 0, -1, 0] * STD[0, 0, 0] + MEAN[0, 0, 0]) * 2000 - 1000)))
    assert corners == {100 * y + 10 * x for y in range(3) for x in range(4)}


def test_same_generator_same_crop() -> None:
    hu, config = random_hu(6, 30, 30), SliceConfig(crop_yx=(5, 5), n_triplets=2)
    one, _ = triplets(hu, config, np.random.default_rng(4))
    other, _ = triplets(hu, config, np.random.default_rng(4))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("crop", [(4, 6), (9, 8), (12, 11), (3, 11)])
@pytest.mark.parametrize("n_slices", [1, 2, 6, 7, 8])
def test_unproject_is_the_inverse_of_triplets(crop: tuple[int, int], n_slices: int) -> None:
    """What the model saw at a voxel comes back at that voxel, and nowhere else."""
    hu = np.clip(random_hu(n_slices, 9, 8), -1000, 1000)
    hu[:] = hu[:1]  # one map per triplet: its slices must agree for the comparison
    config = SliceConfig(crop_yx=crop, n_triplets=3)
    kept = [2 * index + 1 for index in range(n_slices)]
    volume = stored(hu, kept, depth=2 * n_slices + 1)
    images, _ = triplets(hu, config, None)
    maps = (images[:, 0] * STD[0] + MEAN[0]).astype(np.float32) * 2000 - 1000
    grid = unproject(maps, volume, config)
    seen = ~np.isnan(grid)
    used = [index for index in triplet_plan(n_slices, 3).ravel() if index != AIR]
    assert sorted(np.flatnonzero(seen.any(axis=(1, 2)))) == [kept[index] for index in used]
    assert seen.sum() == len(used) * min(crop[0], 9) * min(crop[1], 8)
    expected = np.zeros(grid.shape)
    expected[kept] = hu
    np.testing.assert_allclose(grid[seen], expected[seen], atol=2e-3)


def test_unproject_refuses_maps_of_another_size() -> None:
    with pytest.raises(ValueError, match=r"expected maps \(>= 2, 4, 4\), found \(2, 5, 4\)"):
        unproject(np.zeros((2, 5, 4), np.float32), stored(random_hu(6, 9, 9)), SliceConfig(crop_yx=(4, 4)))


def test_impossible_and_unknown_settings() -> None:
    for wrong in ({"crop_yx": (0, 4)}, {"n_triplets": 0}, {"window_hu": (5, 5)}):
        with pytest.raises(ValueError, match="must be"):
            SliceConfig(**wrong)
    with pytest.raises(ValidationError):
        TypeAdapter(SliceConfig).validate_python({"crop": (4, 4)})
    with pytest.raises(ValueError, match="without slices"):
        triplet_plan(0, 3)


@pytest.mark.parametrize("case", ["rem0", "rem1", "rem2", "empty", "allempty", "short"])
def test_golden_images_of_the_public_code(test_data: Path, case: str) -> None:
    """Its layout of axes and slices: int16 (X, Y, Z) before clipping to float32 (3, n, X, Y) in [0, 1]."""
    with safe_open(test_data / "model" / "golden_prep.safetensors", framework="numpy") as golden:
        volume, expected, mask = (golden.get_tensor(f"{case}.{part}") for part in ("in", "out", "mask"))
    hu = np.clip(volume.transpose(2, 1, 0), -1000, 1000)
    kept = np.flatnonzero(hu.max(axis=(1, 2)) > -1000)  # as `preprocess` keeps slices
    hu = hu[kept if len(kept) else np.arange(len(hu))]
    config = SliceConfig(crop_yx=(24, 24), n_triplets=12, layout="reference")
    window, seen = hu_triplets(hu, config, None)
    assert seen.sum() == len(mask) == mask.sum()
    images = (window[: len(mask)].astype(np.float32) + 1000) / 2000  # (n, 3, X, Y)
    np.testing.assert_allclose(images.transpose(1, 0, 2, 3), expected, atol=1e-6, rtol=0)


def test_maps_of_the_reference_layout_find_back() -> None:
    hu = np.random.default_rng(0).integers(-900, 900, (7, 8, 8)).astype(np.int16)
    stored = StoredVolume(hu, np.eye(4), (7, 8, 8), np.arange(7), "x")
    config = SliceConfig(crop_yx=(8, 8), n_triplets=4, layout="reference")
    window, seen = hu_triplets(hu, config, None)
    for channel in range(3):
        grid = unproject(window[:, channel].astype(np.float32), stored, config)
        np.testing.assert_array_equal(grid[channel:6:3], hu[channel:6:3])
    assert seen.sum() == 2 and np.isnan(grid[6]).all()


def test_the_reference_layout_needs_a_square() -> None:
    with pytest.raises(ValueError, match="must be square"):
        SliceConfig(crop_yx=(8, 16), layout="reference")
