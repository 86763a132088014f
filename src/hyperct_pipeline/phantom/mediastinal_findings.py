"""Findings outside the lungs: calcifications, nodes, hernia, devices. Places and counts are drawn, never fixed."""

import numpy as np

from hyperct_pipeline.phantom.anatomy import Scene
from hyperct_pipeline.phantom.mediastinum import aorta_path, aorta_radii
from hyperct_pipeline.phantom.shapes import Point, along, unit

Generator = np.random.Generator
CALCIUM, METAL, PLASTIC = 1100.0, 2900.0, 350.0  # HU


def _brighten(scene: Scene, points: Point, volume_mm3: float, hu: float) -> None:
    """Add small dense bodies to whatever is there."""
    canvas = scene.canvas
    share = canvas.splat(points, volume_mm3)
    canvas.hu += share * (hu - canvas.hu)


def arterial_calcification(scene: Scene, severity: float, generator: Generator) -> None:
    """Plaques in the wall of the arch, the descending and sometimes the ascending aorta."""
    path, radii = aorta_path(scene), [*aorta_radii(scene), 0.0]
    plaques = []
    for _ in range(int(12 + 36 * severity)):
        segment = int(generator.choice(len(path) - 1, p=np.array([1, 1, 2, 4, 5, 4, 4, 4, 3]) / 28))
        start, end = path[segment], path[segment + 1]
        axis = unit(end - start)
        place = start + generator.uniform(0, 1) * (end - start)
        across = unit(np.cross(axis, generator.normal(0, 1, 3)))
        arc = generator.uniform(0.2, 0.5 + 0.8 * severity)
        for turn in np.arange(0, arc, 0.12):
            direction = across * np.cos(turn) + np.cross(axis, across) * np.sin(turn)
            wall = place + direction * (radii[segment] - 0.5)
            plaques += [wall, wall + 1.5 * axis, wall + 3 * axis]
    _brighten(scene, np.array(plaques), 9.0, CALCIUM)


def coronary_calcification(scene: Scene, severity: float, generator: Generator) -> None:
    """Plaques in the anterior interventricular and atrioventricular grooves."""
    paths = coronary_paths(scene)
    chosen = generator.permutation(len(paths))[: int(generator.integers(2, int(3 + 1.9 * severity)))]
    plaques = []
    for number in chosen:
        way = along(paths[number], 1.0)
        for _ in range(int(3 + 5 * severity)):
            start = int(generator.integers(0, int(0.75 * len(way))))
            run = way[start : start + int(generator.integers(4, int(8 + 10 * severity)))]
            plaques.append(run + generator.normal(0, 0.7, 3))
    _brighten(scene, np.concatenate(plaques), 12.0 + 14.0 * severity, CALCIUM)


def coronary_paths(scene: Scene) -> list[Point]:
    """Left anterior descending, circumflex and right coronary artery, each (N, 3) mm."""
    heart = scene.heart
    outside = heart.left_ventricle_outside
    upward = np.cross(heart.long_axis, heart.septal_axis)
    if upward[2] < 0:
        upward = -upward
    groove = unit(0.75 * upward + 0.65 * heart.septal_axis)
    turns = np.linspace(-1.15, 1.0, 12)
    descending = [
        outside.centre + heart.long_axis * outside.radii[0] * np.sin(t) + groove * (outside.radii[1] + 2) * np.cos(t)
        for t in turns
    ]
    base = outside.centre - heart.long_axis * 0.82 * outside.radii[0]
    ring = 0.72 * outside.radii[1] + 4
    sweep = np.linspace(0.0, 2.0, 9)
    circumflex = [base + ring * (groove * np.cos(t) + np.cross(groove, heart.long_axis) * np.sin(t)) for t in sweep]
    if circumflex[-1][1] < base[1]:  # it runs to the back
        circumflex = [base + ring * (groove * np.cos(t) - np.cross(groove, heart.long_axis) * np.sin(t)) for t in sweep]
    rv, ra = heart.right_ventricle, heart.right_atrium
    middle = 0.5 * (rv.centre + ra.centre)
    front = unit(np.array([-0.45, -0.9, 0.0]))
    right = [
        middle + front * (0.75 * rv.radii[2] + 4) * np.cos(t) + np.array([0, 0, 1]) * 32 * np.sin(t)
        for t in np.linspace(1.1, -1.1, 9)
    ]
    return [np.array(descending), np.array(circumflex), np.array(right)]


def lymphadenopathy(scene: Scene, severity: float, generator: Generator) -> None:
    """Enlarged nodes at several of the mediastinal, hilar and axillary stations."""
    h = scene.habitus
    width = h.chest_half_width_mm
    stations = np.array(
        [
            (-20, 0, h.level(0.74)), (-18, -4, h.level(0.82)), (20, 6, h.level(0.80)), (8, -40, h.level(0.72)),
            (-6, -42, h.level(0.64)), (2, 30, h.level(0.58)), (-46, 14, h.level(0.56)), (52, 18, h.level(0.55)),
            (26, 0, h.level(0.68)), (-14, 34, h.level(0.48)), (-0.98 * width, -0.15 * width, h.level(0.9)),
            (0.98 * width, -0.15 * width, h.level(0.9)),
        ]
    )  # fmt: skip
    for place in generator.permutation(stations)[: int(generator.integers(5, int(7 + 6 * severity)))]:
        radii = generator.uniform(0.8, 1.2, 3) * generator.uniform(11, 14 + 9 * severity)
        scene.canvas.ellipsoid(place + generator.normal(0, 4, 3), radii, float(generator.uniform(32, 46)))


def hiatal_hernia(scene: Scene, severity: float, generator: Generator) -> None:
    """Stomach behind the heart: a wall around fat, fluid and a bubble of gas that lies in front."""
    canvas, h = scene.canvas, scene.habitus
    radius = 17 + 20 * severity + generator.uniform(-2, 2)
    back = h.chest_half_depth_mm - 30
    centre = np.array([generator.uniform(-8, 16), back - 0.75 * radius, h.dome_left_mm - 8 + generator.uniform(0, 30)])
    radii = radius * np.array([1.15, 0.9, 1.1])
    canvas.ellipsoid(centre, radii + 3, 42.0)
    canvas.ellipsoid(centre, radii - 1, float(generator.choice([-60.0, 12.0, 25.0])))
    if generator.random() < 0.75:
        gas = centre + np.array([0, -0.38 * radius, 0.1 * radius])
        canvas.ellipsoid(gas, radii * np.array([0.66, 0.42, 0.7]), -960.0)


def medical_material(scene: Scene, severity: float, generator: Generator) -> None:
    """One or two of: pacemaker, port, sternal wires, tubes, chest drain, spinal rods."""
    kinds = (_pacemaker, _port, _sternotomy, _tubes, _drain, _rods)
    for number in generator.permutation(len(kinds))[: 1 + int(generator.random() < 0.4 * severity)]:
        kinds[number](scene, generator)


def _front(scene: Scene) -> float:
    """y of the muscle surface in front."""
    return -(scene.habitus.chest_half_depth_mm + 0.8 * scene.habitus.muscle_mm)


def _to_heart(scene: Scene, side: int) -> list[Point]:
    """Subclavian vein, upper caval vein, right atrium."""
    h = scene.habitus
    vein = [(side * 62, -34, h.level(0.9)), (side * 26, -20, h.level(0.86)), (-26, -8, h.level(0.72))]
    return [*(np.array(p, np.float64) for p in vein), scene.heart.right_atrium.centre]


def _pacemaker(scene: Scene, generator: Generator) -> None:
    h = scene.habitus
    side = int(generator.choice([-1, 1, 1]))
    box = np.array([side * generator.uniform(62, 84), _front(scene) + 4, h.level(generator.uniform(0.74, 0.86))])
    scene.canvas.ellipsoid(box, (24, 6.5, 22), METAL)
    lead = [
        box,
        *_to_heart(scene, side),
        scene.heart.right_ventricle.centre + 0.7 * scene.heart.right_ventricle.radii[0] * scene.heart.long_axis,
    ]
    _brighten(scene, along(lead, 1.0), 9.0, METAL)


def _port(scene: Scene, generator: Generator) -> None:
    h = scene.habitus
    side = int(generator.choice([-1, -1, 1]))
    chamber = np.array([side * generator.uniform(58, 80), _front(scene), h.level(generator.uniform(0.74, 0.85))])
    scene.canvas.ellipsoid(chamber, (13, 7, 13), 1800.0)
    _brighten(scene, along([chamber, *_to_heart(scene, side)], 1.0), 7.0, 900.0)


def _sternotomy(scene: Scene, generator: Generator) -> None:
    h = scene.habitus
    front = -(h.chest_half_depth_mm + 3)
    turn = np.linspace(0, 2 * np.pi, 40)
    loops = [
        np.stack(
            [17 * np.cos(turn), front + 0.22 * max(z - h.level(0.5), 0) + 9 * np.sin(turn), np.full(40, z)], axis=1
        )
        for z in h.level(generator.uniform(0.40, 0.46)) + np.arange(int(generator.integers(5, 8))) * 17.0
    ]
    _brighten(scene, np.concatenate(loops), 12.0, METAL)
    clips = along(np.array([[-8, -40, h.level(0.66)], [20, -52, h.level(0.55)]]) + generator.normal(0, 4, (2, 3)), 9.0)
    _brighten(scene, np.repeat(clips, 4, axis=0) + generator.normal(0, 1.2, (4 * len(clips), 3)), 10.0, METAL)


def _tubes(scene: Scene, generator: Generator) -> None:
    """Tracheal and gastric tube."""
    h = scene.habitus
    tip = h.level(generator.uniform(0.70, 0.78))
    turn = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    trachea = along([(0, 2, h.level(1.2)), (0, 10, tip)], 1.5)
    ring = 5.0 * np.stack([np.cos(turn), np.sin(turn), np.zeros(12)], axis=1)
    _brighten(scene, (trachea[:, None] + ring).reshape(-1, 3), 5.0, 300.0)
    back = h.chest_half_depth_mm - 34
    gastric = [(3, 16, h.level(1.15)), (4, 24, h.level(0.7)), (2, 30, h.level(0.5)), (2, back - 2, 0.0), (30, 0, -20.0)]
    _brighten(scene, along(gastric, 1.0), 14.0, 700.0)


def _drain(scene: Scene, generator: Generator) -> None:
    h = scene.habitus
    side = int(generator.choice([-1, 1]))
    w, d = h.chest_half_width_mm, h.chest_half_depth_mm
    path = np.array(
        [
            (side * (w + h.muscle_mm + h.fat_mm), -0.1 * d, h.level(0.40)),
            (side * 0.93 * w, 0.1 * d, h.level(0.45)),
            (side * 0.74 * w, 0.62 * d, h.level(generator.uniform(0.5, 0.6))),
            (side * 0.45 * w, 0.45 * d, h.level(generator.uniform(0.75, 0.88))),
        ]
    )
    scene.canvas.tube(path, 4.5, PLASTIC)
    scene.canvas.tube(path, 2.4, -950.0)
    _brighten(scene, along(path + np.array([0, 4.2, 0]), 1.0), 4.0, 1500.0)


def _rods(scene: Scene, generator: Generator) -> None:
    h = scene.habitus
    back = h.chest_half_depth_mm + 18
    low = h.level(generator.uniform(0.0, 0.45))
    high = low + generator.uniform(70, 130)
    for side in (-1, 1):
        scene.canvas.tube([(side * 16, back, low), (side * 16, back, high)], 3.2, METAL)
        for z in np.arange(low + 6, high, 23):
            scene.canvas.tube([(side * 16, back, z), (side * 7, back - 36, z)], 2.4, METAL)
