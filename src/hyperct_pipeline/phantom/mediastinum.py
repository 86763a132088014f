"""Airways, great vessels, oesophagus and the heart with its fat and pericardium."""

import numpy as np

from hyperct_pipeline.phantom.anatomy import Scene
from hyperct_pipeline.phantom.heart import Chamber
from hyperct_pipeline.phantom.shapes import Canvas, Field, Point

MYOCARDIUM, EPICARDIAL_FAT, PERICARDIAL_FLUID = 56.0, -95.0, 8.0  # HU, unenhanced


def aorta_path(scene: Scene) -> Point:
    """Centre line (N, 3) from the valve over the arch to below the diaphragm."""
    h, heart = scene.habitus, scene.heart
    root = heart.left_ventricle.centre - heart.long_axis * (heart.left_ventricle.radii[0] - 2) + heart.septal_axis * 8
    back = h.chest_half_depth_mm - 34
    return np.array(
        [
            root,
            (-14, -16, h.level(0.58)),
            (-18, -16, h.level(0.67)),
            (-10, -12, h.level(0.735)),
            (6, 2, h.level(0.755)),
            (20, 22, h.level(0.735)),
            (25, min(back, 40) - 2, h.level(0.67)),
            (24, back, h.level(0.50)),
            (20, back + 2, h.level(0.25)),
            (14, back, -40.0),
        ]
    )


def aorta_radii(scene: Scene) -> list[float]:
    """Radius in mm of each segment of the aortic path."""
    r = scene.heart.aorta_mm / 2
    return [r, 1.1 * r, 1.1 * r, r, 0.92 * r, 0.86 * r, 0.84 * r, 0.80 * r, 0.76 * r]


def pulmonary_artery_paths(scene: Scene) -> list[tuple[Point, float]]:
    """Main, right and left pulmonary artery with their radii in mm."""
    h, heart = scene.habitus, scene.heart
    r = heart.pulmonary_artery_mm / 2
    fork = np.array([14.0, -6.0, h.level(0.60)])
    outflow = heart.right_ventricle.centre - heart.long_axis * 14 + np.array([4, 6, 22])
    return [
        (np.array([outflow, (20, -26, h.level(0.56)), fork]), r),
        (np.array([fork, (-8, 6, h.level(0.585)), (-42, 10, h.level(0.575))]), 0.76 * r),
        (np.array([fork, (30, 12, h.level(0.615)), (48, 24, h.level(0.60))]), 0.74 * r),
    ]


def paint_mediastinum(scene: Scene, effusion_mm: float) -> None:
    """Everything between the lungs; `effusion_mm` is the depth of pericardial fluid, 0 for none."""
    canvas, h = scene.canvas, scene.habitus
    _heart(scene, effusion_mm)
    back = h.chest_half_depth_mm - 34
    canvas.tube([(2, back - 2, -30), (2, 30, h.level(0.5)), (4, 24, h.level(0.7)), (3, 16, h.level(1.15))], 7, 36.0)
    canvas.tube([(-26, -4, h.level(0.56)), (-27, -6, h.level(0.72)), (-22, -14, h.level(0.86))], 9, scene.blood_hu)
    atrium = tuple(scene.heart.right_atrium.centre)
    canvas.tube([(-24, 14, -30), (-24, 8, h.level(0.2)), atrium], 12, scene.blood_hu)
    canvas.tube([(-22, -14, h.level(0.84)), (18, -20, h.level(0.86))], 6, scene.blood_hu)
    for x, y in ((-16, 0), (2, -6), (14, 8)):  # branches of the arch
        canvas.tube(
            [(0.5 * x, y, h.level(0.76)), (x, y - 2, h.level(0.92)), (1.8 * x, y, h.level(1.12))], 5, scene.blood_hu
        )
    for path, radius in pulmonary_artery_paths(scene):
        canvas.tube(path, radius, scene.blood_hu)
    canvas.tube(aorta_path(scene), aorta_radii(scene), scene.blood_hu)
    _airways(scene)


def _airways(scene: Scene) -> None:
    canvas, h = scene.canvas, scene.habitus
    carina = (0.0, 14.0, h.level(0.645))
    tubes = [(np.array([(0, 2, h.level(1.2)), (0, 8, h.level(0.85)), carina]), 9.0)]
    for root in ("right_upper", "left_upper"):
        tubes.append((np.array([carina, scene.bronchi[root][0]]), 6.5))
    tubes += [(path, 4.2) for path in scene.bronchi.values()]
    for path, radius in tubes:
        canvas.tube(path, radius + 1.6, 20.0)
    for path, radius in tubes:
        canvas.tube(path, radius, -990.0)


def _heart(scene: Scene, effusion_mm: float) -> None:
    canvas, heart = scene.canvas, scene.heart
    outside = heart.left_ventricle_outside
    surfaces = [outside, heart.right_ventricle, heart.left_atrium, heart.right_atrium]
    reach = 70 + heart.lv_internal_diameter_mm / 2 + effusion_mm
    middle = np.mean([s.centre for s in surfaces], axis=0)
    box = canvas.box(middle - reach - 15, middle + reach + 15)
    distances = [_distance(canvas, box, s) for s in surfaces]
    epicardium = _union(distances, 12.0)
    if effusion_mm:
        _, y, z = canvas.coordinates(box)
        low = 0.5 * (y - middle[1]) / 50 - 0.4 * (z - middle[2]) / 50  # fluid gathers behind and below
        depth = effusion_mm * np.clip(0.8 + 0.6 * low, 0.35, 1.3)
        canvas.paint(box, canvas.cover(epicardium - heart.fat_mm - depth - 2), -60.0)
        canvas.paint(box, canvas.cover(epicardium - heart.fat_mm - depth), PERICARDIAL_FLUID)
    canvas.paint(box, canvas.cover(epicardium - heart.fat_mm), EPICARDIAL_FAT)
    left, right, left_atrium, right_atrium = distances
    canvas.paint(box, canvas.cover(right - 3), MYOCARDIUM)
    for cavity in (right, left_atrium, right_atrium):
        canvas.paint(box, canvas.cover(cavity - (0 if cavity is right else 2)), scene.blood_hu)
    canvas.paint(box, canvas.cover(left), MYOCARDIUM)
    canvas.paint(box, canvas.cover(_distance(canvas, box, heart.left_ventricle)), scene.blood_hu)


def _distance(canvas: Canvas, box: tuple[slice, slice, slice], chamber: Chamber) -> Field:
    return canvas.ellipsoid_distance(box, chamber.centre, chamber.radii, chamber.axes)


def _union(distances: list[Field], blend_mm: float) -> Field:
    """Smooth minimum: grooves between neighbours fill with fat over `blend_mm`."""
    union = distances[0]
    for other in distances[1:]:
        share = np.clip(0.5 + 0.5 * (other - union) / blend_mm, 0, 1)
        union = other + share * (union - other) - np.float32(blend_mm) * share * (1 - share)
    return union.astype(np.float32)
