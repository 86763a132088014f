"""Findings of lungs and pleura, each a caricature a radiologist would recognise.

Every function takes the scene, a severity in (0.35, 1] and a generator; places and counts are drawn, never fixed.
"""

import numpy as np

from hyperct_pipeline.phantom.anatomy import LOBES, Scene
from hyperct_pipeline.phantom.habitus import draw_sides
from hyperct_pipeline.phantom.shapes import WHOLE, Field, Point, along, unit

Generator = np.random.Generator


def _blob(scene: Scene, centre: Point, radius_mm: float, softness_mm: float, hu: float, generator: Generator) -> None:
    """An irregular lump of lung with density `hu`."""
    canvas = scene.canvas
    box = canvas.box(centre - 1.5 * radius_mm, centre + 1.5 * radius_mm)
    stretch = generator.uniform(0.8, 1.25, 3)
    distance = canvas.ellipsoid_distance(box, centre, radius_mm * stretch / np.cbrt(stretch.prod()))
    distance += np.float32(0.28 * radius_mm) * canvas.smooth_field(generator, 0.6 * radius_mm + 4, box)
    canvas.infiltrate(box, canvas.cover(distance, softness_mm), hu)


def emphysema(scene: Scene, severity: float, generator: Generator) -> None:
    """Centrilobular holes, more towards the apex, and a few bullae under the pleura."""
    canvas, h = scene.canvas, scene.habitus
    box = canvas.box([-200, -150, -10], [200, 150, h.lung_height_mm + 8])
    _, _, z = canvas.coordinates(box)
    upper = np.clip((z / h.lung_height_mm - 0.15) / 0.6, 0, 1)
    holes = canvas.smooth_field(generator, generator.uniform(7, 11), box)
    threshold = 1.15 - 1.15 * severity * upper
    canvas.infiltrate(box, np.float32(0.92) * np.clip((holes - threshold) / 0.35, 0, 1), -985.0)
    canvas.infiltrate(box, np.full((1, 1, 1), 0.22 * severity, np.float32), -985.0)
    for _ in range(int(generator.integers(1, int(3 + 5 * severity)))):
        centre = scene.lung_point(generator, 6, (0.6, 0.97))
        radius = generator.uniform(8, 12 + 10 * severity)
        canvas.tube([centre, centre + 0.1], radius + 1.2, -700.0, in_lung=True)
        canvas.tube([centre, centre + 0.1], radius, -990.0, in_lung=True)


def mosaic_attenuation(scene: Scene, severity: float, generator: Generator) -> None:
    """Geographic patches of dark and grey lung with sharp borders."""
    canvas, h = scene.canvas, scene.habitus
    box = canvas.box([-200, -150, -10], [200, 150, h.lung_height_mm + 8])
    field = canvas.smooth_field(generator, generator.uniform(20, 30), box)
    share = np.clip(0.5 + 5 * (field - np.float32(generator.uniform(-0.15, 0.15))), 0, 1)
    canvas.hu[box] += canvas.lung[box] * ((share - np.float32(0.42)) * np.float32(110 + 150 * severity))


def opacity(scene: Scene, severity: float, generator: Generator) -> None:
    """Several ill-defined ground-glass patches in both lungs."""
    for _ in range(int(generator.integers(3, int(5 + 5 * severity)))):
        centre = scene.lung_point(generator, 4)
        hu = generator.uniform(-600, -420)
        _blob(scene, centre, generator.uniform(20, 28 + 16 * severity), 14, hu, generator)


def consolidation(scene: Scene, severity: float, generator: Generator) -> None:
    """One or two dense lumps against the pleura, with air bronchograms."""
    canvas = scene.canvas
    for _ in range(1 + int(generator.random() < 0.5 * severity)):
        centre = scene.lung_point(generator, 10, (0.1, 0.85))
        radius = generator.uniform(28, 34 + 20 * severity)
        _blob(scene, centre, radius, 5, 34.0, generator)
        side = 1 if centre[0] > 0 else -1
        hilum = scene.bronchi["left_lower" if side > 0 else "right_lower"][0]
        towards = unit(centre - hilum)
        for _ in range(4):
            fan = unit(towards + 0.35 * generator.normal(0, 1, 3))
            start = centre - towards * 0.9 * radius
            air = canvas.splat(along([start, start + fan * 1.3 * radius], 1.0), np.pi * 2.2**2)
            canvas.infiltrate(WHOLE, air, -850.0)


def atelectasis(scene: Scene, severity: float, generator: Generator) -> None:
    """Collapse of the dependent base, on the sides whose diaphragm it raises, and plate-like bands above it."""
    canvas, h = scene.canvas, scene.habitus
    for side in h.collapsed:
        box = scene.half_chest(side)
        x, y, z = canvas.coordinates(box)
        dome = h.dome_right_mm if side < 0 else h.dome_left_mm
        top = generator.uniform(0.7, 1.0) * dome + 35 * severity
        # a wedge: its edge runs from the back wall towards the hilum, and the medial part is thicker
        depth = (12 + 26 * severity) * np.clip((top - z) / 45, 0, 1) + 0.12 * (80 - np.abs(x)) * (z < top)
        wedge = np.maximum(h.chest_half_depth_mm - y - depth, -y)
        canvas.infiltrate(box, canvas.cover(wedge), 40.0)
        for _ in range(int(generator.integers(2, int(3 + 3 * severity)))):
            centre = np.array(
                [
                    side * generator.uniform(0.42, 0.72) * h.chest_half_width_mm,
                    generator.uniform(-0.4, 0.45) * h.chest_half_depth_mm,
                    dome + generator.uniform(4, 40),
                ]
            )
            normal = unit([0.5 * generator.normal(), 0.5 * generator.normal(), 1])
            across = unit(np.cross(normal, [0, 1, 0]))
            axes = np.stack([across, np.cross(normal, across), normal])
            plate = (generator.uniform(22, 42), generator.uniform(18, 34), generator.uniform(3.0, 5.0))
            reach = canvas.box(centre - 45, centre + 45)
            canvas.infiltrate(reach, canvas.cover(canvas.ellipsoid_distance(reach, centre, plate, axes)), 30.0)


def pleural_effusion(scene: Scene, severity: float, generator: Generator) -> None:
    """Fluid in the back of a supine patient, deepest at the base, with a meniscus along the chest wall."""
    canvas, h = scene.canvas, scene.habitus
    for side in draw_sides(generator, 0.5):
        box = scene.half_chest(side)
        _, y, z = canvas.coordinates(box)
        depth_mm = generator.uniform(0.85, 1.15) * (14 + 44 * severity)
        reach = h.level(0.35 + 0.4 * severity)
        depth = depth_mm * np.clip((reach - z) / (0.7 * reach), 0, 1)
        back = h.chest_half_depth_mm - y  # from the deepest point of the chest
        level = np.where(depth > 0, 0.72 * back - 0.28 * scene.rim_mm[box] - depth, np.float32(50))
        share = canvas.cover(np.maximum(level, -y - 10)) * canvas.lung[box]
        canvas.paint(box, share.astype(np.float32), 9.0)


def nodules(scene: Scene, severity: float, generator: Generator) -> list[tuple[float, float, float, float]]:
    """One to eight solid nodules; returns (x, y, z, diameter) in mm, largest first."""
    canvas = scene.canvas
    found: list[tuple[float, float, float, float]] = []
    sizes = np.sort(generator.uniform(14, 20 + 16 * severity, int(generator.integers(2, int(4 + 5 * severity)))))[::-1]
    for diameter in sizes:
        centre = scene.lung_point(generator, 0.5 * float(diameter) + 2)
        if any(np.linalg.norm(centre - f[:3]) < 0.6 * (diameter + f[3]) for f in found):
            continue
        if generator.random() < 0.35:  # spiculated
            rays = [along([centre, centre + unit(generator.normal(0, 1, 3)) * 0.95 * diameter], 1) for _ in range(14)]
            canvas.infiltrate(WHOLE, canvas.splat(np.concatenate(rays), 2.2), 20.0)
        canvas.ellipsoid(centre, np.full(3, 0.5 * diameter), float(generator.uniform(15, 60)))
        found.append((float(centre[0]), float(centre[1]), float(centre[2]), float(diameter)))
    return found


def fibrotic_sequela(scene: Scene, severity: float, generator: Generator) -> None:
    """Scar: thickened pleura with coarse strands that pull inwards, at an apex or a base."""
    canvas, h = scene.canvas, scene.habitus
    apical = generator.random() < 0.65
    for side in draw_sides(generator, 0.45):
        z_mid = h.level(generator.uniform(0.78, 0.9) if apical else generator.uniform(0.3, 0.45))
        box = scene.half_chest(side)
        spread = generator.uniform(24, 34) * (0.8 + 0.4 * severity)
        angle = generator.uniform(-0.5, 1.1)  # 0 lateral, positive towards the back
        focus = (
            side * 0.75 * h.chest_half_width_mm * np.cos(angle),
            0.85 * h.chest_half_depth_mm * np.sin(angle),
            z_mid,
        )
        near = canvas.cover(canvas.ellipsoid_distance(box, focus, (1.5 * spread, 1.5 * spread, spread)), 12)
        cap = canvas.cover(
            -scene.rim_mm[box] - np.float32(6 + 10 * severity) * (0.7 + 0.3 * canvas.smooth_field(generator, 9, box))
        )
        canvas.infiltrate(box, near * cap, 30.0)
        strands = []
        for _ in range(int(10 + 16 * severity)):
            start = np.asarray(focus) + generator.normal(0, 0.55 * spread, 3)
            inwards = np.array([side * 30.0, 10.0, h.level(0.6)]) - start
            step = unit(unit(inwards) + 0.45 * generator.normal(0, 1, 3)) * generator.uniform(25, 55)
            strands.append(along([start, start + 0.5 * step + generator.normal(0, 3, 3), start + step], 1.0))
        canvas.infiltrate(WHOLE, canvas.splat(np.concatenate(strands), np.pi * (1.8 + 1.6 * severity) ** 2), 20.0)


def peribronchial_thickening(scene: Scene, severity: float, generator: Generator) -> None:
    """Cuffs of soft tissue around lobar and segmental bronchi of both lungs; the lumen keeps its width."""
    canvas = scene.canvas
    paths = list(scene.bronchi.values())
    for lobe in LOBES:
        paths += [twig[:2] for twig in scene.twigs[lobe][: int(4 + 4 * severity)]]
    cuff = 5.0 + 3.6 * severity + generator.uniform(-0.4, 0.4)
    for path in paths:
        canvas.tube(path, cuff, -20.0, in_lung=True)
    for path in paths:
        canvas.tube(path, 2.2, -930.0, in_lung=True)


def bronchiectasis(scene: Scene, severity: float, generator: Generator) -> None:
    """Widened bronchi of two to five lobes that do not taper, with thick walls."""
    canvas = scene.canvas
    lobes = generator.permutation(len(LOBES))[: int(generator.integers(2, int(4 + 2.9 * severity)))]
    tubes: list[tuple[Point, list[float]]] = []
    for lobe in lobes:
        for twig in scene.twigs[LOBES[lobe]]:
            width = generator.uniform(5.0, 6.5 + 3.0 * severity)
            tubes.append((twig, [width, 1.25 * width]))
    for path, radii in tubes:
        canvas.tube(path, [r + 2.8 for r in radii], 20.0, in_lung=True)
    for path, radii in tubes:
        canvas.tube(path, radii, -975.0, in_lung=True)


def septal_thickening(scene: Scene, severity: float, generator: Generator) -> None:
    """A polygonal net of thin sheets, densest towards the pleura and the bases, in both lungs."""
    canvas, h = scene.canvas, scene.habitus
    box = canvas.box([-200, -150, -10], [200, 150, h.lung_height_mm + 8])
    x, y, z = canvas.coordinates(box)
    warp = 7 * canvas.smooth_field(generator, 20, box)
    size = generator.uniform(16, 21)
    thickness = np.float32(1.2 + 1.0 * severity)
    net: Field | None = None
    for normal in ((1, 0.3, 0.2), (-0.3, 1, 0.4), (0.2, -0.4, 1)):
        n = unit(normal).astype(np.float32)
        way = ((x * n[0] + y * n[1] + z * n[2]) + warp) / np.float32(size)
        off_mm = np.abs(way - np.floor(way) - 0.5) * np.float32(size)
        sheet = np.clip((thickness - off_mm) / canvas.edge_mm + 0.5, 0, 1)
        net = sheet if net is None else np.maximum(net, sheet)
    assert net is not None
    outer = np.clip((scene.rim_mm[box] + 55) / 30, 0.15, 1) * np.clip(1.25 - 0.8 * z / h.lung_height_mm, 0.3, 1)
    canvas.infiltrate(box, net * outer * np.float32(0.12 + 0.65 * severity), -200.0)
