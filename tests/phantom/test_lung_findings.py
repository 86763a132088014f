import numpy as np
import pytest

LUNG = (
    "emphysema", "mosaic_attenuation_pattern", "interlobular_septal_thickening", "lung_opacity",
    "peribronchial_thickening", "bronchiectasis", "pulmonary_fibrotic_sequela", "consolidation", "lung_nodule",
)  # fmt: skip


def changed(paint, finding: str, number: int = 10, score: float = 1.5):
    """(chest with, HU without): emphysema and atelectasis also change the build, so shapes may differ."""
    return paint(number, **{finding: score}), paint(number)


@pytest.mark.parametrize("finding", LUNG[1:])
def test_a_lung_finding_changes_lung_and_nothing_else(paint, finding: str) -> None:
    chest, healthy = changed(paint, finding)
    difference = np.abs(chest.hu - healthy.hu) > 30
    assert difference.mean() > 0.001
    assert np.median(healthy.hu[difference]) < -700
    soft = healthy.hu > 0  # vessels inside lung aside
    assert (difference & soft).sum() < 0.02 * difference.sum() + 400


@pytest.mark.parametrize("finding", [*LUNG[3:], "medical_material", "lymphadenopathy"])
def test_no_finding_has_a_fixed_place(paint, finding: str) -> None:
    centres = []
    for number in range(20, 26):
        chest, healthy = changed(paint, finding, number)
        k, j, i = np.nonzero(np.abs(chest.hu - healthy.hu) > 100)
        centres.append([chest.x_mm[i].mean(), chest.y_mm[j].mean(), chest.z_mm[k].mean()])
    assert np.std(centres, axis=0).max() > (5 if finding == "peribronchial_thickening" else 8)


def test_nodules_lie_where_the_truth_says_with_their_diameter(paint) -> None:
    for number in (10, 30, 31, 32):
        chest, healthy = changed(paint, "lung_nodule", number)
        assert chest.nodules
        diameters = [n[3] for n in chest.nodules]
        assert diameters == sorted(diameters, reverse=True)
        for x, y, z, diameter in chest.nodules:
            assert chest.at(x, y, z) > 0
            reach = np.arange(-30, 30, 0.5)
            dense = np.array([chest.at(x, y, z + t) > -400 for t in reach])
            above, below = dense[len(reach) // 2 :], dense[len(reach) // 2 :: -1]
            # a nodule may touch the diaphragm: then that side is dense to the end
            runs = [len(side) if side.all() else int(np.argmin(side)) for side in (above, below)]
            assert 0.5 * sum(runs) >= diameter - 5
        volume_mm3 = ((chest.hu - healthy.hu)[healthy.hu < -600]).sum() / 890 * 27
        assert volume_mm3 == pytest.approx(sum(np.pi / 6 * d**3 for d in diameters), rel=0.35)


def test_effusion_is_fluid_in_the_dependent_chest(paint) -> None:
    for number in (10, 40, 41):
        chest, healthy = changed(paint, "pleural_effusion", number)
        k, j, _ = np.nonzero((chest.hu - healthy.hu) > 500)
        h = chest.anatomy.habitus
        assert chest.y_mm[j].mean() > 0.35 * h.chest_half_depth_mm
        assert (chest.y_mm[j] > 0).mean() > 0.9
        assert chest.z_mm[k].mean() < h.level(0.45)
        fluid = chest.hu[(chest.hu - healthy.hu) > 780]
        assert np.median(fluid) == pytest.approx(9, abs=6)


def test_effusion_grows_with_severity(paint) -> None:
    slight, gross = (changed(paint, "pleural_effusion", score=s) for s in (0.5, 3.0))
    volumes = [((a.hu - b.hu) > 500).sum() for a, b in (slight, gross)]
    assert volumes[1] > 2 * volumes[0]


def test_emphysema_darkens_the_upper_lungs_most(paint) -> None:
    chest, healthy = changed(paint, "emphysema")
    h = chest.anatomy.habitus

    def share_below_950(one, low: float, high: float) -> float:
        zone = one.hu[(one.z_mm > h.level(low)) & (one.z_mm < h.level(high))]
        inner = zone[:, np.abs(one.y_mm) < 60][:, :, np.abs(np.abs(one.x_mm) - 75) < 30]
        return float((inner < -940).mean())

    assert share_below_950(healthy, 0.6, 0.9) < 0.03
    assert share_below_950(chest, 0.65, 0.9) > 0.08
    assert share_below_950(chest, 0.65, 0.9) > 1.5 * share_below_950(chest, 0.3, 0.45)


def test_opacity_is_ground_glass_and_consolidation_is_dense(paint) -> None:
    glass, healthy = changed(paint, "lung_opacity")
    dense, _ = changed(paint, "consolidation")
    assert -650 < np.percentile(glass.hu[glass.hu - healthy.hu > 120], 80) < -350
    assert np.percentile(dense.hu[dense.hu - healthy.hu > 120], 70) > 0


def test_atelectasis_collapses_the_bases_whose_diaphragm_is_raised(paint) -> None:
    seen = set()
    for number in range(10, 22):
        chest, plain = paint(number, atelectasis=1.5), paint(number)
        h, before = chest.anatomy.habitus, plain.anatomy.habitus
        raised = (h.dome_right_mm > before.dome_right_mm, h.dome_left_mm > before.dome_left_mm)
        base = chest.hu[(chest.z_mm > 10) & (chest.z_mm < h.dome_left_mm)]
        back = base[:, (chest.y_mm > 0.75 * h.chest_half_depth_mm) & (chest.y_mm < 0.9 * h.chest_half_depth_mm)]
        sides = [back[:, :, (s * chest.x_mm > 30) & (s * chest.x_mm < 70)] for s in (-1, 1)]
        assert tuple(bool(np.median(side) > 0) for side in sides) == raised
        seen.add(raised)
    assert len(seen) == 3
