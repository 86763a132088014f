import numpy as np
import pytest

from hyperct_pipeline.volumes import quality_checks
from hyperct_pipeline.volumes.quality_checks import CHECKS, measure
from hyperct_pipeline.volumes.volume import Volume, to_ras

AFFINE = np.diag([0.5, 0.75, 2.0, 1.0])


def volume_of(values: list[int], affine: np.ndarray = AFFINE) -> Volume:
    """10 slices of 10 x 10 voxels, each value in an equal share of every slice."""
    image = np.repeat(values, 100 // len(values)).reshape(10, 10)
    return Volume(np.broadcast_to(image, (10, 10, 10)).astype(np.int16), affine)


def test_geometry() -> None:
    found = measure(volume_of([0]))
    assert found["slice_count"] == 10 and found["slice_spacing_mm"] == 2.0
    assert found["pixel_spacing_mm"] == 0.75 and found["z_extent_mm"] == 20.0
    assert found["field_of_view_mm"] == 5.0


def test_axial_slices_are_counted_wherever_the_array_runs() -> None:
    hu = np.zeros((4, 5, 6), dtype=np.int16)  # array axes (x, z, y) of the patient
    turned = Volume(hu, np.array([[0, 0, 1, 0], [3.0, 0, 0, 0], [0, 2.0, 0, 0], [0, 0, 0, 1]]))
    assert measure(turned)["slice_count"] == to_ras(turned).hu.shape[0] == 5
    assert measure(turned)["slice_spacing_mm"] == 2.0


def test_shares_and_percentiles() -> None:
    found = measure(volume_of([-1000, -951, -950, -601, -600, -50, 149, 150, 300, 301]))
    assert found["air_share"] == pytest.approx(0.2)
    assert found["lung_share"] == pytest.approx(0.2)
    assert found["soft_tissue_share"] == pytest.approx(0.2)
    assert found["bone_share"] == pytest.approx(0.1)
    assert (found["hu_percentile_1"], found["hu_percentile_99"]) == (-1000, 301)
    assert found["hu_percentile_50"] == pytest.approx(-325)  # between -600 and -50


def test_constant_slices() -> None:
    hu = np.zeros((4, 3, 3), dtype=np.int16)
    hu[1, 0, 0] = 1
    assert measure(Volume(hu, AFFINE))["constant_slices"] == 3


def test_warnings_of_the_conversion_become_numbers() -> None:
    plain = measure(volume_of([0]), frozenset({"CONTRAST"}))
    assert (plain["lossy"], plain["unusual_orientation"]) == (0, 0)
    assert measure(volume_of([0]), frozenset({"LOSSY"}))["lossy"] == 1
    assert measure(volume_of([0]), frozenset({"ORIENTATION_NOT_LPS"}))["unusual_orientation"] == 1


def test_places_of_organs_in_millimetres() -> None:
    hu = np.full((8, 20, 40), -1000, dtype=np.int16)
    hu[:, 2:18, 10:30] = -100  # body: centre at row 9.5, column 19.5
    hu[:, 3:5, 19:21] = 700  # spine: centre at row 3.5
    hu[:2, 5:15, 20:30] = 60  # liver: centre at column 24.5
    hu[6:, 5:15, 12:28] = -800  # lungs: 160 of 800 voxels in the top quarter, none at the bottom
    found = measure(Volume(hu, AFFINE))
    assert found["liver_right_of_centre_mm"] == pytest.approx((24.5 - 19.5) * 0.5)
    assert found["lung_above_belly_share"] == pytest.approx(160 / 800)
    body = hu > -500
    rows = np.broadcast_to(np.arange(20)[None, :, None], hu.shape)
    assert found["bone_behind_centre_mm"] == pytest.approx((rows[body].mean() - 3.5) * 0.75)


@pytest.mark.parametrize(
    ("axis", "check"),
    [(0, "lung_above_belly_share"), (1, "bone_behind_centre_mm"), (2, "liver_right_of_centre_mm")],
)
def test_a_flip_that_the_header_does_not_tell_changes_the_sign_of_its_check(patient, axis: int, check: str) -> None:
    flipped = Volume(np.ascontiguousarray(np.flip(patient.hu, axis)), patient.affine)
    before, after = measure(patient), measure(flipped)
    assert before[check] > 0 > after[check]
    for other in ("bone_behind_centre_mm", "liver_right_of_centre_mm"):
        if other != check and axis != 0:
            assert before[other] == pytest.approx(after[other])


def test_a_flip_that_the_header_tells_changes_nothing(patient) -> None:
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    flip[:2, 3] = (99, 79)
    turned = Volume(np.ascontiguousarray(patient.hu[:, ::-1, ::-1]), patient.affine @ flip)
    assert measure(turned) == measure(patient)


def test_what_is_not_there_has_no_place() -> None:
    found = measure(volume_of([-1000]))
    assert found["bone_behind_centre_mm"] is None and found["liver_right_of_centre_mm"] is None
    assert all(value is not None for name, value in found.items() if not name.endswith("centre_mm"))
    assert set(found) == set(CHECKS)


def test_large_volumes_are_thinned_without_changing_the_picture(monkeypatch) -> None:
    hu = np.random.default_rng(0).normal(-300, 400, (8, 200, 200)).astype(np.int16)
    hu[:, :60] = 700
    whole = measure(Volume(hu, AFFINE))
    monkeypatch.setattr(quality_checks, "SAMPLE_VOXELS", 40_000)
    thinned = measure(Volume(hu, AFFINE))
    for name in ("air_share", "lung_share", "soft_tissue_share"):
        assert thinned[name] == pytest.approx(whole[name], abs=0.01)
    assert thinned["bone_behind_centre_mm"] == pytest.approx(whole["bone_behind_centre_mm"], abs=1.0)
