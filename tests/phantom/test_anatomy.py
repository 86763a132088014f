import numpy as np
import pytest

from hyperct_pipeline.phantom.heart import Heart


def test_tissues_have_their_density(paint) -> None:
    chest = paint()
    h, heart = chest.anatomy.habitus, chest.anatomy.heart
    side = np.abs(chest.x_mm + 0.65 * h.chest_half_width_mm) < 12
    lung = chest.hu[np.abs(chest.z_mm - h.level(0.6)) < 10][:, np.abs(chest.y_mm) < 20][:, :, side]
    assert -900 < np.median(lung) < -800
    assert chest.at(-0.45 * h.chest_half_width_mm, -10, 0.5 * h.dome_right_mm) == pytest.approx(60, abs=3)  # liver
    outer = h.chest_half_width_mm + h.muscle_mm + 0.5 * h.fat_mm
    if h.fat_mm > 8:
        assert chest.at(outer, 0, h.level(0.5)) == pytest.approx(-100, abs=15)
    assert chest.at(0, h.chest_half_depth_mm - 10, h.level(0.5) + 1) > 70  # vertebra or disc
    assert (chest.hu > 300).mean() > 0.004  # ribs and cortex
    assert chest.at(*heart.left_ventricle.centre) == pytest.approx(38, abs=2)
    assert chest.at(0, 5, h.level(0.92)) < -900  # trachea
    assert chest.at(*(chest.x_mm[[0]]), -180, h.level(0.5)) == pytest.approx(-1000)


def test_left_ventricle_measures_what_the_truth_says(paint) -> None:
    for score in (-1.0, 0.0, 1.2):
        chest = paint(left_ventricle=score)
        assert ventricle_mm(chest) == pytest.approx(chest.anatomy.heart.lv_internal_diameter_mm, abs=3)


def ventricle_mm(chest) -> float:
    """Blood between the walls along the second short axis, which no other chamber crosses."""
    heart: Heart = chest.anatomy.heart
    axis = heart.left_ventricle.axes[2]
    reach = np.arange(-60, 60, 0.25)
    line = [chest.at(*(heart.left_ventricle.centre + t * axis)) for t in reach]
    blood = np.abs(np.array(line) - 38) < 9  # myocardium starts at 56
    middle = len(reach) // 2
    low, high = middle, middle
    while blood[low]:
        low -= 1
    while blood[high]:
        high += 1
    return float(0.25 * (high - low))


def test_the_painted_heart_takes_the_stated_share_of_the_chest(paint) -> None:
    excess = []
    for number in range(10, 22):
        chest = paint(number)
        h, heart = chest.anatomy.habitus, chest.anatomy.heart
        levels = np.abs(chest.z_mm - h.heart_height_mm - 5) < 30
        solid = (chest.hu[levels] > -500)[:, np.abs(chest.y_mm) < 0.5 * h.chest_half_depth_mm]
        middle = int(np.argmin(np.abs(chest.x_mm)))
        lines = solid.reshape(-1, solid.shape[-1])
        reach_mm = [3 * max(run(line) for line in half) for half in (lines[:, middle:], lines[:, middle::-1])]
        excess.append((sum(reach_mm) - 3) / (2 * h.chest_half_width_mm) - heart.cardiothoracic_ratio)
    # voxels of 3 mm, and vessels that touch the heart
    assert 0 < np.mean(excess) < 0.035
    assert np.std(excess) < 0.012


def run(row) -> int:
    """Voxels until the first one of lung."""
    return len(row) if row.all() else int(np.argmin(row))


def test_the_diaphragm_and_the_apex_bound_the_lungs(paint) -> None:
    chest = paint()
    h = chest.anatomy.habitus
    side = 0.45 * h.chest_half_width_mm
    assert chest.at(-side, -10, h.dome_right_mm + 12) < -750
    assert chest.at(-side, -10, h.dome_right_mm - 12) > 20
    assert chest.at(side, 5, h.level(1.0) + 12) > -150


def test_patients_differ_and_one_patient_does_not(paint) -> None:
    first, again, other = paint(10), paint(10), paint(11)
    np.testing.assert_array_equal(first.hu, again.hu)
    assert first.hu.shape != other.hu.shape or np.abs(first.hu - other.hu).mean() > 20
