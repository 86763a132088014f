import numpy as np
import pytest

from hyperct_pipeline.phantom.anatomy import healthy_chest
from hyperct_pipeline.phantom.mediastinal_findings import coronary_paths
from hyperct_pipeline.phantom.mediastinum import aorta_path
from hyperct_pipeline.phantom.shapes import Canvas, along


def distance_to(path, chest, mask) -> np.ndarray:
    k, j, i = np.nonzero(mask)
    points = np.stack([chest.x_mm[i], chest.y_mm[j], chest.z_mm[k]], axis=1)
    way = along(path, 2.0)
    return np.linalg.norm(points[:, None] - way[None], axis=2).min(axis=1)


def scene_of(chest):
    canvas = Canvas(chest.x_mm, chest.y_mm, chest.z_mm)
    return healthy_chest(canvas, chest.anatomy.habitus, chest.anatomy.heart, np.random.default_rng(0))


def test_aortic_calcium_lies_in_the_wall_of_the_aorta(paint) -> None:
    chest, healthy = paint(10, arterial_wall_calcification=1.5), paint(10)
    new = (chest.hu > 200) & (chest.hu - healthy.hu > 100)
    assert new.sum() > 30
    away = distance_to(aorta_path(scene_of(chest)), chest, new)
    radius = 0.5 * chest.anatomy.heart.aorta_mm
    assert np.percentile(away, 95) < 1.2 * radius + 6
    assert np.median(away) > 0.5 * radius


def test_coronary_calcium_lies_along_the_coronaries(paint) -> None:
    chest, healthy = paint(10, coronary_artery_wall_calcification=1.5), paint(10)
    new = (chest.hu > 150) & (chest.hu - healthy.hu > 100)
    assert new.sum() > 15
    away = np.min([distance_to(p, chest, new) for p in coronary_paths(scene_of(chest))], axis=0)
    assert np.percentile(away, 95) < 7


@pytest.mark.parametrize("number", range(50, 56))
def test_devices_are_denser_than_bone_can_be(paint, number: int) -> None:
    chest, healthy = paint(number, medical_material=1.5), paint(number)
    assert chest.hu.max() > min(1.0 * healthy.hu.max() + 50, 650)
    assert (np.abs(chest.hu - healthy.hu) > 150).sum() > 40


def test_nodes_are_soft_tissue_in_fat(paint) -> None:
    chest, healthy = paint(10, lymphadenopathy=1.5), paint(10)
    new = (chest.hu - healthy.hu > 60) & (chest.hu > 20)
    assert 20 < np.median(chest.hu[new]) < 50
    assert new.sum() * 27 > 3 * np.pi / 6 * 22**3  # mm3: several nodes of more than 22 mm


def test_a_hernia_lies_behind_the_heart_above_the_diaphragm(paint) -> None:
    chest, healthy = paint(10, hiatal_hernia=1.5), paint(10)
    k, j, i = np.nonzero(np.abs(chest.hu - healthy.hu) > 60)
    h = chest.anatomy.habitus
    assert abs(chest.x_mm[i].mean()) < 25
    assert chest.y_mm[j].mean() > 10
    assert h.level(0.1) < chest.z_mm[k].mean() < h.level(0.5)


def test_pericardial_fluid_surrounds_the_heart(paint) -> None:
    chest, healthy = paint(10, pericardial_effusion=1.5), paint(10)
    fluid = (np.abs(chest.hu - 8) < 2) & (np.abs(chest.hu - healthy.hu) > 60)
    assert fluid.sum() * 27 > 80_000  # mm3
    k, j, i = np.nonzero(fluid)
    lv = chest.anatomy.heart.left_ventricle.centre
    assert (
        np.linalg.norm([chest.x_mm[i].mean() - lv[0], chest.y_mm[j].mean() - lv[1], chest.z_mm[k].mean() - lv[2]]) < 35
    )
