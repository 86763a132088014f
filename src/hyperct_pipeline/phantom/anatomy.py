"""A healthy chest: body wall, skeleton, lungs with their vessels, abdomen under the diaphragm, table."""

from dataclasses import dataclass

import numpy as np

from hyperct_pipeline.phantom.habitus import Habitus
from hyperct_pipeline.phantom.heart import Heart
from hyperct_pipeline.phantom.shapes import WHOLE, Box, Canvas, Field, Point, along, unit

FAT, MUSCLE, LIVER, SPLEEN, BLOOD = -100.0, 52.0, 60.0, 48.0, 38.0  # HU, unenhanced
LOBES = ("right_upper", "right_middle", "right_lower", "left_upper", "lingula", "left_lower")


@dataclass(frozen=True)
class Scene:
    """A chest under construction: voxels plus the geometry that findings refer to.

    `rim_mm` (Z, Y, X) is the signed distance to the inner chest wall, negative inside. `bronchi` holds the tube
    from hilum to lobe for each of LOBES; `twigs` the segmental directions that vessels and bronchi share.
    `blood_hu` is what vessels and heart chambers are painted with: contrast acts there and on no other tissue.
    """

    canvas: Canvas
    habitus: Habitus
    heart: Heart
    rim_mm: Field
    bronchi: dict[str, Point]  # (2, 3)
    twigs: dict[str, list[Point]]  # each (3, 3): lobe, bend, periphery
    blood_hu: float

    def half_chest(self, side: int) -> Box:
        """Box of one hemithorax: side -1 is the patient's right, +1 the left."""
        h = self.habitus
        x = (-h.chest_half_width_mm - 8, 0.0) if side < 0 else (0.0, h.chest_half_width_mm + 8)
        depth = h.chest_half_depth_mm + 8
        return self.canvas.box([x[0], -depth, -8], [x[1], depth, h.lung_height_mm + 8])

    def lung_point(
        self, generator: np.random.Generator, clearance_mm: float, z_share: tuple[float, float] = (0.05, 0.95)
    ) -> Point:
        """A random place in aerated lung at least `clearance_mm` from the chest wall."""
        c, h = self.canvas, self.habitus
        for _ in range(400):
            x = generator.uniform(-1, 1) * h.chest_half_width_mm
            y = generator.uniform(-1, 1) * h.chest_half_depth_mm
            z = h.level(generator.uniform(*z_share))
            k, j, i = (int(np.argmin(np.abs(a - v))) for a, v in ((c.z_mm, z), (c.y_mm, y), (c.x_mm, x)))
            if c.lung[k, j, i] > 0.95 and self.rim_mm[k, j, i] < -clearance_mm:
                return np.array([x, y, z])
        return np.array([0.5 * h.chest_half_width_mm * generator.choice([-1, 1]), 0.0, h.level(0.6)])


def healthy_chest(
    canvas: Canvas, habitus: Habitus, heart: Heart, generator: np.random.Generator, blood_hu: float = BLOOD
) -> Scene:
    """Paint everything but the mediastinum and return the scene."""
    _body(canvas, habitus)
    rim = _chest_rim(canvas, habitus)
    dome = _dome(canvas, habitus)
    canvas.paint(WHOLE, canvas.cover(rim), -82.0)
    _abdomen(canvas, habitus, rim, dome)
    _ribs(canvas, habitus, rim)
    _lungs(canvas, habitus, rim, dome, generator)
    _spine(canvas, habitus)
    _girdle(canvas, habitus)
    bronchi = _lobar_bronchi(habitus, generator)
    twigs = {lobe: _twigs(bronchi[lobe], generator) for lobe in LOBES}
    scene = Scene(canvas, habitus, heart, rim, bronchi, twigs, blood_hu)
    _lung_vessels(scene, generator)
    return scene


def _body(canvas: Canvas, h: Habitus) -> None:
    wall = h.muscle_mm + h.fat_mm
    half_width = h.chest_half_width_mm + wall + 2
    half_depth = h.chest_half_depth_mm + wall
    z = canvas.z_mm
    neck = np.clip((z - h.level(1.0)) / 40, 0, 1)  # shoulders fall away above the apex
    width = (half_width * (1 - 0.35 * neck)).astype(np.float32)
    depth = (half_depth * (1 - 0.25 * neck - 0.06 * np.clip((z - h.level(0.6)) / h.level(0.4), 0, 1))).astype(
        np.float32
    )
    distance = _superellipse(canvas, width, depth)
    box = WHOLE
    if h.breast_mm:
        for side in (-1, 1):
            centre = (side * 0.55 * h.chest_half_width_mm, -half_depth + 12, h.level(0.42))
            canvas.ellipsoid(centre, (62, h.breast_mm + 10, 62), FAT)
            canvas.ellipsoid(centre, (30, 0.5 * h.breast_mm, 28), 10.0, softness_mm=25)
    canvas.paint(box, canvas.cover(distance), FAT)
    canvas.paint(box, canvas.cover(distance + np.float32(h.fat_mm)), MUSCLE)
    canvas.paint(box, canvas.cover(np.abs(distance + 1.0) - 1.0), 20.0)  # skin
    x, y, _ = canvas.coordinates(box)
    table = np.abs(y - (half_depth + 9 - (x / 60) ** 2)) - 2.5
    canvas.paint(box, canvas.cover(table) * (np.abs(x) < 210) * np.ones_like(canvas.z_mm)[:, None, None], -150.0)


def _superellipse(canvas: Canvas, width: Field, depth: Field) -> Field:
    """Distance in mm to a rounded box whose half width and depth follow z; exact only near the surface."""
    across = (np.abs(canvas.x_mm)[None, :] / width[:, None]) ** np.float32(2.5)
    front = (np.abs(canvas.y_mm)[None, :] / depth[:, None]) ** np.float32(2.5)
    radius = np.minimum(width, depth)[:, None, None]
    return (np.sqrt(across[:, None, :] + front[:, :, None]) - 1) * (radius / np.float32(1.25))


def _chest_rim(canvas: Canvas, h: Habitus) -> Field:
    up = np.clip((canvas.z_mm - h.level(0.45)) / h.level(0.55), 0, 1.15)
    down = np.clip((h.level(0.25) - canvas.z_mm) / h.level(0.25), 0, 1)
    width = h.chest_half_width_mm * (1 - 0.42 * up**2.2 - 0.05 * down)
    depth = h.chest_half_depth_mm * (1 - 0.38 * up**2.0 - 0.04 * down)
    return _superellipse(canvas, width.astype(np.float32), depth.astype(np.float32))


def _dome(canvas: Canvas, h: Habitus) -> Field:
    """Height of the diaphragm (Y, X): two domes that reach z = 0 in the posterior sulcus."""
    x, y = canvas.x_mm[None, :], canvas.y_mm[:, None]
    top = np.where(x < 0, h.dome_right_mm, h.dome_left_mm)
    across = (np.abs(x) - 0.46 * h.chest_half_width_mm) / (0.60 * h.chest_half_width_mm)
    front = (y + 0.24 * h.chest_half_depth_mm) / (1.10 * h.chest_half_depth_mm)
    return np.maximum(top * (1 - (across**2 + front**2) ** 1.4), 0.0).astype(np.float32)


def _abdomen(canvas: Canvas, h: Habitus, rim: Field, dome: Field) -> None:
    box = canvas.box([-1e3, -1e3, -1e3], [1e3, 1e3, max(h.dome_right_mm, h.dome_left_mm) + 5])
    x, _, z = canvas.coordinates(box)
    below = np.maximum(z - dome + 3, rim[box] + 5)
    liver = canvas.cover(np.maximum(below, 0.6 * (x - 22 - 0.2 * (z - 30))))
    canvas.paint(box, canvas.cover(np.maximum(z - dome, rim[box])), MUSCLE)
    canvas.paint(box, canvas.cover(below), FAT)
    canvas.paint(box, liver, LIVER)
    width, depth = h.chest_half_width_mm, h.chest_half_depth_mm
    spleen = canvas.ellipsoid_distance(box, (0.66 * width, 0.42 * depth, 0.25 * h.dome_left_mm), (34, 40, 38))
    canvas.paint(box, canvas.cover(np.maximum(spleen, below)), SPLEEN)
    stomach = (0.45 * width, -0.25 * depth, 0.35 * h.dome_left_mm)
    for centre, radii, hu in ((stomach, (42, 36, 34), 18.0), (np.add(stomach, (0, -14, 4)), (26, 15, 18), -950.0)):
        pouch = canvas.ellipsoid_distance(box, centre, radii)
        canvas.paint(box, canvas.cover(np.maximum(pouch, below)), hu)


def _ribs(canvas: Canvas, h: Habitus, rim: Field) -> None:
    """Twelve pairs as bands of a shell around the pleura that fall from back to front."""
    shell = np.flatnonzero(np.abs(rim - 5.5) < 5.5)
    k, j, i = np.unravel_index(shell, rim.shape)
    z, y, x = canvas.z_mm[k], canvas.y_mm[j], canvas.x_mm[i]
    turn = (z + 0.55 * (h.chest_half_depth_mm - y) + 0.0006 * x**2) / 26 + np.float32(h.rib_phase)
    off_mm = np.abs(turn - np.floor(turn) - 0.5) * 26
    share = np.clip(0.5 - (off_mm - 5.5) / canvas.edge_mm, 0, 1)
    share *= np.clip(0.5 - (np.abs(rim.ravel()[shell] - 5.5) - 3.6) / canvas.edge_mm, 0, 1)
    share *= (np.abs(x) > 22) & (z < h.level(1.0) + 10)
    cartilage = (y < -0.62 * h.chest_half_depth_mm) & (np.abs(x) < 0.6 * h.chest_half_width_mm)
    bone = np.where(cartilage, 110, h.bone_hu + 260)
    flat = canvas.hu.reshape(-1)
    flat[shell] += share * (bone - flat[shell])


def _lungs(canvas: Canvas, h: Habitus, rim: Field, dome: Field, generator: np.random.Generator) -> None:
    box = canvas.box([-1e3, -1e3, -1e3], [1e3, 1e3, h.lung_height_mm + 6])
    x, y, z = canvas.coordinates(box)
    apex = h.lung_height_mm - ((np.abs(x) - 0.38 * h.chest_half_width_mm) ** 2 + (y - 12) ** 2) / 75
    septum = 7 + 15 * np.exp(-(((y - 8) / 38) ** 2)) + 5 * np.clip((z - h.level(0.55)) / 40, 0, 1)
    surface = np.maximum(np.maximum(rim[box], 0.75 * (z - apex)), np.maximum(0.8 * (dome - z), septum - np.abs(x)))
    share = canvas.cover(surface)
    texture = canvas.smooth_field(generator, 14, box)
    density = h.lung_hu + 32 * y / h.chest_half_depth_mm - 12 * z / h.lung_height_mm + 9 * texture
    canvas.paint(box, share, density)
    canvas.lung[box] = share


def _spine(canvas: Canvas, h: Habitus) -> None:
    back = h.chest_half_depth_mm - 10
    box = canvas.box([-32, back - 26, -1e3], [32, back + 62, 1e3])
    x, y, z = canvas.coordinates(box)
    kyphosis = 8 * ((z - h.level(0.5)) / h.level(0.5)) ** 2
    yy = y - back + kyphosis
    body = np.sqrt((x / 18) ** 2 + (yy / 14.5) ** 2)
    distance = (body - 1) * 16
    canvas.paint(box, canvas.cover(distance - 4), 45.0)
    canvas.paint(box, canvas.cover(distance), h.bone_hu + 170)
    canvas.paint(box, canvas.cover(distance + 2.5), h.bone_hu)
    disc = np.abs(np.mod(z + 11, 23) - 11.5) - 2.2
    canvas.paint(box, canvas.cover(distance - 0.5) * canvas.cover(disc), 85.0)
    canal = np.sqrt((x / 9) ** 2 + ((yy - 23) / 8) ** 2)
    canvas.paint(box, canvas.cover((canal - 1.75) * 8), h.bone_hu + 150)
    canvas.paint(box, canvas.cover((canal - 1) * 8), 28.0)
    process = np.maximum(np.abs(x) - 3.5, np.abs(yy - 44) - 12)
    canvas.paint(box, canvas.cover(process) * canvas.cover(-disc - 6), h.bone_hu + 150)


def _girdle(canvas: Canvas, h: Habitus) -> None:
    """Sternum, clavicles and shoulder blades."""
    front = -(h.chest_half_depth_mm + 3)
    box = canvas.box([-20, front - 14, h.level(0.32)], [20, front + 26, h.level(0.88)])
    x, y, z = canvas.coordinates(box)
    tilt = 0.22 * np.clip(z - h.level(0.5), 0, None)
    slab = np.maximum(np.abs(x) - 14, np.abs(y - front - tilt) - 5.5)
    canvas.paint(box, canvas.cover(slab), h.bone_hu + 60)
    for side in (-1, 1):
        w, d = h.chest_half_width_mm, h.chest_half_depth_mm
        inner, outer = (side * 18, -0.66 * d, h.level(0.9)), (side * 1.02 * w, -0.1 * d, h.level(1.03))
        canvas.tube([inner, (side * 0.5 * w, -0.72 * d, h.level(0.97)), outer], 6, h.bone_hu + 250)
        blade = unit([side * 0.78, 0.62, 0.0])
        axes = np.stack([blade, unit(np.cross(blade, [0, 0, 1])), [0.0, 0.0, 1.0]])
        canvas.ellipsoid((side * 0.80 * w, 0.80 * d + 10, h.level(0.72)), (4, 40, 58), h.bone_hu + 200, axes)


def _lobar_bronchi(h: Habitus, generator: np.random.Generator) -> dict[str, Point]:
    right, left = (-34.0, 18.0, h.level(0.585)), (40.0, 24.0, h.level(0.565))
    ends = {
        "right_upper": (right, (-62, 6, h.level(0.69))),
        "right_middle": (right, (-56, -30, h.level(0.49))),
        "right_lower": (right, (-58, 44, h.level(0.44))),
        "left_upper": (left, (66, -4, h.level(0.67))),
        "lingula": (left, (78, -28, h.level(0.50))),
        "left_lower": (left, (64, 48, h.level(0.43))),
    }
    return {lobe: np.array(pair, np.float64) + generator.normal(0, 2, (2, 3)) for lobe, pair in ends.items()}


def _twigs(bronchus: Point, generator: np.random.Generator) -> list[Point]:
    """Eight crooked ways from the end of a lobar bronchus towards the pleura."""
    forward = unit(bronchus[1] - bronchus[0])
    twigs = []
    for _ in range(8):
        direction = unit(forward + 0.75 * generator.normal(0, 1, 3))
        bend = bronchus[1] + direction * generator.uniform(22, 34)
        twigs.append(np.stack([bronchus[1], bend, bend + unit(direction + 0.4 * generator.normal(0, 1, 3)) * 45]))
    return twigs


def _lung_vessels(scene: Scene, generator: np.random.Generator) -> None:
    """Arteries and veins beside the twigs, each splitting twice, as bodies thinner than a voxel."""
    canvas = scene.canvas
    points, volumes = [], []
    for lobe in LOBES:
        trunk = along(scene.bronchi[lobe] + generator.normal(0, 3, 3), 1.0)
        points.append(np.repeat(trunk, 6, axis=0) + generator.normal(0, 2.4, (6 * len(trunk), 3)))
        volumes.append(np.full(6 * len(trunk), np.pi * 4.2**2 / 6))
        for twig in scene.twigs[lobe]:
            for path, radius in _branches(twig, generator):
                way = along(path, 1.5)
                points.append(way)
                volumes.append(1.5 * np.pi * np.linspace(radius, 0.6 * radius, len(way)) ** 2)
    share = canvas.splat(np.concatenate(points), np.concatenate(volumes))
    canvas.infiltrate(WHOLE, share, scene.blood_hu)


def _branches(twig: Point, generator: np.random.Generator) -> list[tuple[Point, float]]:
    offset = generator.normal(0, 4, 3)
    branches = [(twig + offset, 2.6)]
    for start, radius, length in ((twig[1], 1.8, 40), (twig[1], 1.6, 35), (twig[2], 1.3, 28), (twig[2], 1.3, 28)):
        away = unit(unit(twig[2] - twig[0]) + 0.9 * generator.normal(0, 1, 3))
        branches.append((np.stack([start, start + away * length]) + offset, radius))
    return branches
