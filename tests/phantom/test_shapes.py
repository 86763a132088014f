import numpy as np
import pytest

from hyperct_pipeline.phantom.shapes import WHOLE, Canvas, along, extent


@pytest.fixture
def canvas() -> Canvas:
    axis = np.arange(-60, 60, 2.5).astype(np.float32)
    return Canvas(axis, axis.copy(), np.arange(-60, 60, 3.0).astype(np.float32))


def painted_mm3(canvas: Canvas) -> float:
    return float((canvas.hu + 1000).sum() / 1000 * canvas.voxel_mm3)


def test_a_sphere_keeps_its_volume(canvas: Canvas) -> None:
    canvas.ellipsoid((3.3, -7.1, 4.0), (20, 20, 20), 0.0)
    assert painted_mm3(canvas) == pytest.approx(4 / 3 * np.pi * 20**3, rel=0.02)


def test_a_turned_ellipsoid_keeps_its_volume_and_its_box(canvas: Canvas) -> None:
    axes = np.array([[0.6, 0.8, 0.0], [-0.8, 0.6, 0.0], [0.0, 0.0, 1.0]])
    canvas.ellipsoid((0, 0, 0), (30, 15, 20), 0.0, axes)
    assert painted_mm3(canvas) == pytest.approx(4 / 3 * np.pi * 30 * 15 * 20, rel=0.03)
    np.testing.assert_allclose(extent((30, 15, 20), axes), [np.hypot(18, 12), np.hypot(24, 9), 20])


def test_a_tube_is_a_cylinder_with_round_ends(canvas: Canvas) -> None:
    canvas.tube([(-20, 0, 0), (20, 0, 0)], 10, 0.0)
    assert painted_mm3(canvas) == pytest.approx(np.pi * 100 * 40 + 4 / 3 * np.pi * 1000, rel=0.03)


def test_splat_conserves_volume_and_centre_of_mass(canvas: Canvas) -> None:
    point = np.array([[3.1, -8.2, 5.7]])
    share = canvas.splat(point, 4.0)
    assert float(share.sum() * canvas.voxel_mm3) == pytest.approx(4.0, rel=1e-5)
    z, y, x = (
        float((share * grid).sum() / share.sum())
        for grid in np.meshgrid(canvas.z_mm, canvas.y_mm, canvas.x_mm, indexing="ij")
    )
    np.testing.assert_allclose([x, y, z], point[0], atol=1e-3)


def test_what_lies_outside_the_grid_is_left_out(canvas: Canvas) -> None:
    assert canvas.splat(np.array([[500.0, 0, 0]]), 4.0).sum() == 0
    canvas.ellipsoid((500, 0, 0), (5, 5, 5), 0.0)
    assert painted_mm3(canvas) == 0


def test_soft_tissue_removes_lung_and_an_infiltrate_does_not(canvas: Canvas) -> None:
    canvas.lung[:] = 1
    canvas.infiltrate(WHOLE, np.full((1, 1, 1), 0.5, np.float32), 0.0)
    assert canvas.hu.mean() == pytest.approx(-500)
    assert canvas.lung.min() == 1
    canvas.paint(WHOLE, np.full((1, 1, 1), 0.25, np.float32), 0.0)
    assert canvas.lung.max() == pytest.approx(0.75)


def test_a_smooth_field_follows_its_generator_and_its_scale(canvas: Canvas) -> None:
    first, second = (canvas.smooth_field(np.random.default_rng(3), 15, WHOLE) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert np.abs(np.diff(first, axis=2)).max() < np.ptp(first) * 2.5 / 15
    assert first.shape == canvas.hu.shape


def test_points_along_a_polyline_are_evenly_spaced() -> None:
    points = along([(0, 0, 0), (10, 0, 0), (10, 10, 0)], 2.5)
    assert len(points) == 8
    np.testing.assert_allclose(points[5], (10, 2.5, 0))
