import numpy as np
import pytest
from scipy import ndimage
from scipy.stats import norm

from hyperct_pipeline.volumes.preprocessing import (
    EmptyVolumeError,
    PreprocessConfig,
    check_slices_fit,
    preprocess,
    resample,
    resampling_matrix,
)
from hyperct_pipeline.volumes.slices import SliceConfig
from hyperct_pipeline.volumes.volume import Volume

AFFINE = np.array([[0.8, 0, 0, -90], [0, 0.9, 0, -70], [0, 0, 2.5, 15], [0, 0, 0, 1.0]])


def position_mm(affine: np.ndarray, shape_zyx: tuple[int, ...], axis: int) -> np.ndarray:
    """(Z, Y, X) world coordinate of every voxel along one axis."""
    z, y, x = np.indices(shape_zyx)
    return affine[axis, 0] * x + affine[axis, 1] * y + affine[axis, 2] * z + affine[axis, 3]


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("shape_zyx", [(12, 20, 31), (40, 60, 50), (24, 41, 77)])
def test_new_affine_names_the_same_world_points(shape_zyx: tuple[int, int, int], axis: int) -> None:
    """An image of its own coordinates: smoothing and interpolation leave a straight line as it is."""
    old_shape = (24, 50, 62)
    coordinate = position_mm(AFFINE, old_shape, axis)
    volume = Volume(np.rint(coordinate * 100).astype(np.int16), AFFINE)
    factors = tuple(old / new for old, new in zip(old_shape, shape_zyx, strict=True))
    values, affine = resample(volume, shape_zyx, factors, lowest_hu=-32768)
    inner = tuple(slice(int(n * 0.2), n - int(n * 0.2)) for n in shape_zyx)  # the border repeats its last voxel
    expected = position_mm(affine, shape_zyx, axis) * 100
    np.testing.assert_allclose(values[inner], expected[inner], atol=0.6)  # rounding to int16
    # the outer faces of both grids coincide
    for corner in (0, 1):
        old = AFFINE[:3, 3] + AFFINE[:3, :3] @ (np.array(old_shape[::-1]) * corner - 0.5)
        new = affine[:3, 3] + affine[:3, :3] @ (np.array(shape_zyx[::-1]) * corner - 0.5)
        np.testing.assert_allclose(old, new, atol=1e-9)


OBLIQUE = np.array([[0.4, -0.35, 1.9, -90], [0.5, 0.6, 0.7, -70], [-0.45, 0.5, 1.6, 15], [0, 0, 0, 1.0]])
LEFT_POSTERIOR = np.array([[-0.8, 0, 0, 90], [0, -0.9, 0, 70], [0, 0, 2.5, 15], [0, 0, 0, 1.0]])
SAGITTAL = np.array([[0, 0, 2.5, -90], [-0.8, 0, 0, 70], [0, -0.9, 0, 80], [0, 0, 0, 1.0]])


def centre_mm(hu: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Where the mean of the image above its background lies, RAS mm."""
    weight = hu.astype(np.float64) + 1000
    z, y, x = (float((weight * index).sum() / weight.sum()) for index in np.indices(hu.shape))
    return (affine @ [x, y, z, 1])[:3]


@pytest.mark.parametrize(
    "affine", [AFFINE, LEFT_POSTERIOR, SAGITTAL, OBLIQUE], ids=["RAS", "LPS", "sagittal", "oblique"]
)
@pytest.mark.parametrize(
    "config",
    [PreprocessConfig(shape_zyx=(30, 41, 37)), PreprocessConfig(spacing_mm=(3.1, 1.7, 1.3))],
    ids=["shape", "spacing"],
)
def test_a_lesion_stays_where_it_is_in_the_patient(affine: np.ndarray, config: PreprocessConfig) -> None:
    """Within 0.3 mm, a thirteenth of the coarsest new voxel; half a voxel of any grid would be 0.4 to 2 mm."""
    hu = np.full((48, 60, 64), -1000, dtype=np.int16)
    hu[19:24, 36:43, 22:30] = 60  # off the middle on every axis
    lesion_mm = (affine @ [25.5, 39, 21, 1])[:3]
    stored = preprocess(Volume(hu, affine), config)
    grid = np.full(stored.grid_shape_zyx, -1000, dtype=np.int16)
    grid[stored.kept_slices] = stored.hu
    assert np.linalg.norm(centre_mm(hu, affine) - lesion_mm) < 1e-3
    assert np.linalg.norm(centre_mm(grid, stored.affine) - lesion_mm) < 0.3


def sharp_chest(shape_zyx: tuple[int, int, int]) -> np.ndarray:
    """Sharp and fine structures: two lungs in a body, ribs as stripes, noise."""
    z, y, x = (np.linspace(-1, 1, n) for n in shape_zyx)
    z, y, x = np.meshgrid(z, y, x, indexing="ij")
    hu = np.where(x**2 + y**2 < 0.8, 40.0, -1000.0)
    hu[((np.abs(x) - 0.4) / 0.3) ** 2 + (y / 0.5) ** 2 + (z / 0.9) ** 2 < 1] = -850
    hu[(x**2 + y**2 > 0.65) & (x**2 + y**2 < 0.75) & (np.sin(25 * z) > 0.4)] = 700
    noisy = np.rint(hu + np.random.default_rng(2).normal(0, 20, hu.shape))
    return np.maximum(noisy, -1024).astype(np.int16)  # the references clamp nothing


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(48, 33, 30), (20, 45, 80), (40, 90, 27)])
def test_interior_equals_monai(shape: tuple[int, int, int]) -> None:
    """Within 0.2 HU: MONAI's kernel is not normalised, its weights sum to 1 within 1e-4."""
    torch = pytest.importorskip("torch")
    transforms = pytest.importorskip("monai.transforms")
    hu = sharp_chest((40, 90, 80))
    factors = tuple(old / new for old, new in zip(hu.shape, shape, strict=True))
    values, _ = resample(Volume(hu, AFFINE), shape, factors, lowest_hu=-1024)
    resize = transforms.Resize(shape, mode="trilinear", anti_aliasing=True)
    monai = resize(torch.from_numpy(hu.astype(np.float32))[None]).numpy()[0]
    inner = np.s_[4:-4, 6:-6, 4:-4]  # beyond the border MONAI sees 0 HU, we the last voxel
    np.testing.assert_allclose(values[inner], monai[inner], atol=0.2)


def by_scipy(hu: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Smoothed by the share of a normal curve that falls on each voxel, then sampled at the new voxel centres."""
    values = hu.astype(np.float64)
    places = []
    for axis, (old, new) in enumerate(zip(hu.shape, shape, strict=True)):
        factor = old / new
        places.append((np.arange(new) + 0.5) * factor - 0.5)
        if factor > 1:
            sigma = (factor - 1) / 2
            reach = int(max(4 * sigma, 0.5) + 0.5)
            share = np.diff(norm.cdf(np.arange(-reach - 0.5, reach + 1), scale=sigma))
            values = ndimage.correlate1d(values, share / share.sum(), axis, mode="nearest")
    grid = np.meshgrid(*places, indexing="ij")
    return ndimage.map_coordinates(values, grid, order=1, mode="nearest")


@pytest.mark.parametrize("shape", [(48, 33, 30), (20, 45, 80), (40, 90, 27), (61, 97, 88)])
def test_interior_and_border_equal_scipy(shape: tuple[int, int, int]) -> None:
    """Within 0.005 HU, the rounding of float32."""
    hu = sharp_chest((40, 90, 80))
    factors = tuple(old / new for old, new in zip(hu.shape, shape, strict=True))
    values, _ = resample(Volume(hu, AFFINE), shape, factors, lowest_hu=-1024)
    np.testing.assert_allclose(values, by_scipy(hu, shape), atol=5e-3)


@pytest.mark.parametrize(("n_old", "n_new"), [(50, 20), (20, 50), (30, 30), (7, 1)])
def test_matrix_keeps_constants_and_identity(n_old: int, n_new: int) -> None:
    matrix = resampling_matrix(n_old, n_new, n_old / n_new)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-6)
    if n_old == n_new:
        np.testing.assert_allclose(matrix, np.eye(n_old), atol=1e-7)


def test_fine_stripes_do_not_alias() -> None:
    """Stripes at the highest frequency shrink to their mean; plain interpolation would show new stripes."""
    stripes = np.where(np.arange(64) % 2, 500, -500)
    hu = np.broadcast_to(stripes, (8, 64, 64)).astype(np.int16)
    values, _ = resample(Volume(np.ascontiguousarray(hu), AFFINE), (8, 64, 20), (1, 1, 3.2), lowest_hu=-1024)
    assert np.abs(values[:, :, 3:-3]).max() < 30


def test_spacing_mode_gives_exactly_that_spacing() -> None:
    hu = np.random.default_rng(1).integers(0, 900, (24, 50, 62)).astype(np.int16)
    stored = preprocess(Volume(hu, AFFINE), PreprocessConfig(spacing_mm=(3.0, 1.5, 1.7)))
    np.testing.assert_allclose(np.linalg.norm(stored.affine[:3, :3], axis=0), (1.7, 1.5, 3.0))
    assert stored.grid_shape_zyx == (20, 30, 29)  # 60 mm, 45 mm, 49.6 mm


def test_padding_is_clamped_before_resampling_and_window_after() -> None:
    hu = np.full((6, 16, 16), -3024, dtype=np.int16)
    hu[:, 4:12, 4:12] = 3000
    stored = preprocess(Volume(hu, AFFINE), PreprocessConfig(shape_zyx=(6, 8, 8), window_hu=(-1000, 1000)))
    assert stored.hu.min() == -1000 and stored.hu.max() == 1000
    clamped = preprocess(
        Volume(np.maximum(hu, -1024), AFFINE), PreprocessConfig(shape_zyx=(6, 8, 8), window_hu=(-1000, 1000))
    )
    np.testing.assert_array_equal(stored.hu, clamped.hu)


def test_empty_slices_are_dropped_and_remembered() -> None:
    hu = np.full((6, 8, 8), -1024, dtype=np.int16)
    hu[2] = hu[4] = 50
    stored = preprocess(Volume(hu, AFFINE), PreprocessConfig(shape_zyx=(6, 8, 8)))
    np.testing.assert_array_equal(stored.kept_slices, [2, 4])
    assert stored.hu.shape == (2, 8, 8) and stored.grid_shape_zyx == (6, 8, 8)
    np.testing.assert_allclose(stored.affine, AFFINE)
    with pytest.raises(EmptyVolumeError, match="all 6 slices are at or below -1000 HU"):
        preprocess(Volume(np.full((6, 8, 8), -1000, np.int16), AFFINE), PreprocessConfig(shape_zyx=(6, 8, 8)))


def test_result_does_not_depend_on_how_the_array_ran() -> None:
    hu = np.random.default_rng(1).integers(-900, 900, (8, 10, 12)).astype(np.int16)
    flip = np.diag([-1.0, -1, 1, 1])
    flip[:2, 3] = (11, 9)
    config = PreprocessConfig(shape_zyx=(6, 7, 8))
    one = preprocess(Volume(hu, AFFINE), config)
    other = preprocess(Volume(np.ascontiguousarray(hu[:, ::-1, ::-1]), AFFINE @ flip), config)
    np.testing.assert_array_equal(one.hu, other.hu)
    np.testing.assert_allclose(one.affine, other.affine, atol=1e-5)  # affines of volumes are float32 numbers


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"shape_zyx": (4, 4, 4), "spacing_mm": (1, 1, 1)},
        {"shape_zyx": (4, 0, 4)},
        {"shape_zyx": (4, 4, 4), "window_hu": (100, -100)},
        {"shape_zyx": (4, 4, 4), "padding_hu": -500},
        {"shape_zyx": (4, 4, 4), "window": (0, 1)},
    ],
)
def test_impossible_settings(wrong: dict) -> None:
    with pytest.raises((ValueError, TypeError)):
        PreprocessConfig(**wrong)


def test_digest_follows_every_setting() -> None:
    configs = [
        PreprocessConfig(shape_zyx=(4, 4, 4)),
        PreprocessConfig(shape_zyx=(4, 4, 5)),
        PreprocessConfig(spacing_mm=(4, 4, 4)),
        PreprocessConfig(shape_zyx=(4, 4, 4), window_hu=(-1000, 900)),
        PreprocessConfig(shape_zyx=(4, 4, 4), padding_hu=-1025),
    ]
    assert len({config.digest() for config in configs}) == 5
    assert configs[0].digest() == PreprocessConfig(shape_zyx=(4, 4, 4)).digest()


def test_how_volumes_are_kept_is_no_part_of_the_digest() -> None:
    grid = {"shape_zyx": (4, 4, 4)}
    assert PreprocessConfig(**grid, verify_store=True).digest() == PreprocessConfig(**grid).digest()
    assert PreprocessConfig(**grid, store="compact").digest() == PreprocessConfig(**grid).digest()


GRID = PreprocessConfig(shape_zyx=(48, 72, 60))


@pytest.mark.parametrize(
    ("preprocess_config", "slices", "img_size", "error"),
    [
        (GRID, SliceConfig(crop_yx=(64, 48)), (64, 48), None),
        (GRID, SliceConfig(crop_yx=(72, 60), window_hu=(-900, 1000)), (72, 60), None),
        (PreprocessConfig(spacing_mm=(3, 2, 2)), SliceConfig(crop_yx=(144, 144)), (144, 144), None),
        (GRID, SliceConfig(crop_yx=(64, 64)), (64, 48), r"crop_yx \(64, 64\) must equal backbone.img_size \(64, 48\)"),
        (GRID, SliceConfig(crop_yx=(64, 61)), (64, 61), r"crop_yx \(64, 61\) must not be larger .* \(48, 72, 60\)"),
        (GRID, SliceConfig(crop_yx=(8, 8), window_hu=(-1001, 900)), (8, 8), r"must lie within preprocess.window_hu"),
        (GRID, SliceConfig(crop_yx=(8, 8), window_hu=(-100, 1001)), (8, 8), r"must lie within preprocess.window_hu"),
    ],
)
def test_slices_grid_and_backbone_must_fit(
    preprocess_config: PreprocessConfig, slices: SliceConfig, img_size: tuple[int, int], error: str | None
) -> None:
    if error is None:
        check_slices_fit(preprocess_config, slices, img_size)
    else:
        with pytest.raises(ValueError, match=error):
            check_slices_fit(preprocess_config, slices, img_size)


def test_everything_that_does_not_fit_is_named_at_once() -> None:
    with pytest.raises(ValueError, match=r"img_size.*window_hu.*shape_zyx"):
        check_slices_fit(GRID, SliceConfig(crop_yx=(99, 99), window_hu=(-2000, 0)), (64, 64))
