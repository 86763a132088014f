"""Anti-aliased shapes on a voxel grid.

Points are (x, y, z) in mm of the patient (LPS: x to the left, y to the back, z to the head); arrays are (Z, Y, X).
Every shape is evaluated inside its own bounding box only, which is what makes a chest cheap.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Field = NDArray[np.floating[Any]]  # float32 wherever speed matters
Point = NDArray[np.float64]
Box = tuple[slice, slice, slice]
WHOLE: Box = (slice(None), slice(None), slice(None))


class Canvas:
    """A volume of HU under construction, with the share of aerated lung in each voxel.

    Attributes:
        hu: (Z, Y, X) float32, starts as air.
        lung: (Z, Y, X) float32 in [0, 1]; soft tissue painted over lung removes it.
        edge_mm: width of the partial-volume edge, the in-plane voxel size.
    """

    def __init__(self, x_mm: Field, y_mm: Field, z_mm: Field) -> None:
        self.x_mm, self.y_mm, self.z_mm = x_mm, y_mm, z_mm
        shape = (z_mm.size, y_mm.size, x_mm.size)
        self.hu: Field = np.full(shape, -1000, np.float32)
        self.lung: Field = np.zeros(shape, np.float32)
        self.edge_mm = float(x_mm[1] - x_mm[0])
        self.voxel_mm3 = float(self.edge_mm * (y_mm[1] - y_mm[0]) * (z_mm[1] - z_mm[0]))

    def box(self, low_mm: ArrayLike, high_mm: ArrayLike) -> Box:
        """Index box of all voxels between two corners (x, y, z), one edge width wider on each side."""
        low, high = np.asarray(low_mm) - self.edge_mm, np.asarray(high_mm) + self.edge_mm
        axes = (self.z_mm, self.y_mm, self.x_mm)
        return tuple(  # type: ignore[return-value]
            slice(int(np.searchsorted(axis, low[k])), int(np.searchsorted(axis, high[k], "right")))
            for axis, k in zip(axes, (2, 1, 0), strict=True)
        )

    def coordinates(self, box: Box) -> tuple[Field, Field, Field]:
        """x (1, 1, bx), y (1, by, 1) and z (bz, 1, 1) of a box, in mm."""
        return (
            self.x_mm[box[2]][None, None, :],
            self.y_mm[box[1]][None, :, None],
            self.z_mm[box[0]][:, None, None],
        )

    def cover(self, distance_mm: Field, softness_mm: float | None = None) -> Field:
        """Share of each voxel inside a surface, from its signed distance (negative inside)."""
        share: Field = np.clip(0.5 - distance_mm / np.float32(softness_mm or self.edge_mm), 0, 1)
        return share

    def paint(self, box: Box, share: Field, hu: float | Field) -> None:
        """Replace `share` of each voxel by `hu` and take it away from the lung."""
        target = self.hu[box]
        target += share * (hu - target)
        self.lung[box] *= 1 - share

    def infiltrate(self, box: Box, share: Field, hu: float | Field) -> None:
        """Change the density of the lung in the box; everything else stays, and the lung stays lung."""
        target = self.hu[box]
        target += share * self.lung[box] * (hu - target)

    def ellipsoid_distance(
        self, box: Box, centre: ArrayLike, radii: ArrayLike, axes: NDArray[np.float64] | None = None
    ) -> Field:
        """Approximate signed distance in mm to an ellipsoid whose axes are the rows of `axes`."""
        x, y, z = self.coordinates(box)
        c, r = np.asarray(centre, np.float32), np.asarray(radii, np.float32)
        if axes is None:
            squared = ((x - c[0]) / r[0]) ** 2 + ((y - c[1]) / r[1]) ** 2 + ((z - c[2]) / r[2]) ** 2
        else:
            m = np.asarray(axes, np.float32)
            rows = [(x - c[0]) * a[0] + (y - c[1]) * a[1] + (z - c[2]) * a[2] for a in m / r[:, None]]
            squared = rows[0] ** 2 + rows[1] ** 2 + rows[2] ** 2
        distance: Field = (np.sqrt(squared) - 1) * np.float32(np.cbrt(r.prod()))
        return distance

    def ellipsoid(
        self,
        centre: ArrayLike,
        radii: ArrayLike,
        hu: float,
        axes: NDArray[np.float64] | None = None,
        softness_mm: float | None = None,
    ) -> None:
        """Paint an ellipsoid."""
        c = np.asarray(centre, np.float64)
        reach = extent(radii, axes) + (softness_mm or 0)
        box = self.box(c - reach, c + reach)
        self.paint(box, self.cover(self.ellipsoid_distance(box, c, radii, axes), softness_mm), hu)

    def tube(self, points: ArrayLike, radius_mm: float | Sequence[float], hu: float, in_lung: bool = False) -> None:
        """Paint a tube with round ends along a polyline; a thin one keeps its volume.

        `radius_mm` is one number or one per segment. `in_lung` changes only lung density.
        """
        path = np.asarray(points, np.float64)
        radii = np.broadcast_to(np.asarray(radius_mm, np.float64), (len(path) - 1,))
        for start, end, radius in zip(path[:-1], path[1:], radii, strict=True):
            box = self.box(np.minimum(start, end) - radius, np.maximum(start, end) + radius)
            x, y, z = self.coordinates(box)
            axis = (end - start).astype(np.float32)
            length2 = float(axis @ axis) or 1.0
            dx, dy, dz = (v - np.float32(s) for v, s in zip((x, y, z), start, strict=True))
            t = np.clip((dx * axis[0] + dy * axis[1] + dz * axis[2]) / np.float32(length2), 0, 1)
            distance = np.sqrt((dx - t * axis[0]) ** 2 + (dy - t * axis[1]) ** 2 + (dz - t * axis[2]) ** 2)
            share = self.cover(distance - np.float32(radius))
            (self.infiltrate if in_lung else self.paint)(box, share, hu)

    def splat(self, points: NDArray[np.float64], volume_mm3: ArrayLike) -> Field:
        """(Z, Y, X) share of voxels filled by small bodies at `points` (N, 3), trilinearly spread.

        Right for whatever is thinner than a voxel, thousands at a time: vessels, calcifications, wires.
        """
        shape = self.hu.shape
        origin = np.array([self.z_mm[0], self.y_mm[0], self.x_mm[0]])
        step = np.array([a[1] - a[0] for a in (self.z_mm, self.y_mm, self.x_mm)])
        position = (points[:, ::-1] - origin) / step
        inside = np.all((position >= 0) & (position < np.array(shape) - 1), axis=1)
        position = position[inside]
        amount = np.broadcast_to(np.asarray(volume_mm3, np.float64), (len(points),))[inside] / self.voxel_mm3
        corner = position.astype(np.int64)
        fraction = position - corner
        flat, weight = [], []
        for offset in np.ndindex(2, 2, 2):
            flat.append(np.ravel_multi_index(tuple((corner + offset).T), shape))
            weight.append(amount * np.where(offset, fraction, 1 - fraction).prod(axis=1))
        filled = np.bincount(np.concatenate(flat), np.concatenate(weight), minlength=self.hu.size)
        return np.minimum(filled, 1).astype(np.float32).reshape(shape)

    def smooth_field(self, generator: np.random.Generator, scale_mm: float, box: Box) -> Field:
        """A random field over a box that varies over `scale_mm`; values mostly within -1.5 to 1.5."""
        axes = (self.z_mm[box[0]], self.y_mm[box[1]], self.x_mm[box[2]])
        where = [(axis - axis[0]) / np.float32(scale_mm) for axis in axes]
        nodes = [int(w[-1]) + 2 for w in where]
        field = generator.standard_normal(nodes, np.float32)
        for axis, position in enumerate(where):
            index = position.astype(np.int64)
            shape = [1, 1, 1]
            shape[axis] = -1
            share = (position - index).reshape(shape)
            low, high = np.take(field, index, axis), np.take(field, index + 1, axis)
            field = low + share * (high - low)
        return field


def extent(radii: ArrayLike, axes: NDArray[np.float64] | None = None) -> Point:
    """Half size (x, y, z) of the axis-parallel box around an ellipsoid."""
    r = np.asarray(radii, np.float64)
    return r if axes is None else np.sqrt(((axes * r[:, None]) ** 2).sum(axis=0))


def along(points: ArrayLike, step_mm: float) -> NDArray[np.float64]:
    """Points every `step_mm` along a polyline (N, 3)."""
    path = np.asarray(points, np.float64)
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    at = np.arange(0, length[-1], step_mm)
    return np.stack([np.interp(at, length, path[:, k]) for k in range(3)], axis=1)


def unit(vector: ArrayLike) -> Point:
    """The vector scaled to length 1."""
    v = np.asarray(vector, np.float64)
    return v / np.linalg.norm(v)
