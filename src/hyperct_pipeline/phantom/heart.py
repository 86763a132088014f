"""The heart: chamber sizes from latent scores, and where the chambers lie in this body.

Which part of a size may follow the body is set by the labels. Echo limits of the ventricles are absolute, one per sex
(ASE/EACVI 2015), so their normal diameters follow sex and nothing else; left atrial volume is judged per body
surface and follows it. The cardiothoracic ratio is that of the same heart in a reference body: a broad chest holds
a longer, more horizontal heart, a narrow one a shorter, steeper heart. A large ratio therefore means large chambers,
never a small patient.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hyperct_pipeline.phantom.cohort import Study
from hyperct_pipeline.phantom.habitus import Habitus
from hyperct_pipeline.phantom.shapes import Point, extent, unit

NORMAL_LV_MM = {"M": 54.6, "F": 49.0}  # mean internal diameter
REFERENCE_BSA_M2 = 1.9
REFERENCE_HALF_WIDTH_MM = 134.0  # inner chest, between those of the average woman and man
CARDIOTHORACIC_LIMIT = 0.53  # ratio above which a report says cardiomegaly
BREADTHS = np.linspace(-0.27, 0.27, 5)  # of a heart's lie, see Lie; beyond them no heart looks natural


@dataclass(frozen=True)
class Chamber:
    """An ellipsoid: centre (x, y, z) mm, radii mm along the rows of `axes`."""

    centre: Point
    radii: Point
    axes: NDArray[np.float64]


@dataclass(frozen=True)
class Sizes:
    """Sizes in mm and mL, wherever the heart lies."""

    lv_internal_diameter_mm: float
    lv_wall_mm: float
    la_volume_ml: float
    rv_diameter_mm: float
    ra_diameter_mm: float
    pulmonary_artery_mm: float
    aorta_mm: float
    fat_mm: float


@dataclass(frozen=True)
class Heart(Sizes):
    """Sizes and the chambers they make in this body."""

    cardiothoracic_ratio: float
    long_axis: Point  # from base to apex
    septal_axis: Point  # from the left towards the right ventricle
    left_ventricle: Chamber  # inner surface
    right_ventricle: Chamber
    left_atrium: Chamber
    right_atrium: Chamber

    @property
    def left_ventricle_outside(self) -> Chamber:
        """Outer surface of the left ventricular myocardium."""
        lv = self.left_ventricle
        return Chamber(lv.centre, lv.radii + self.lv_wall_mm, lv.axes)


@dataclass(frozen=True)
class Lie:
    """How a heart lies: what differs between hearts of the same sizes."""

    left_ventricle_mm: Point  # centre
    turn: Point  # small random change of the long axis
    breadth: float = 0.0  # at 0.1 a tenth longer than at 0 and turned by 13 degrees towards the horizontal


def draw_heart(study: Study, habitus: Habitus, generator: np.random.Generator) -> Heart:
    """Chamber sizes of a study and their place in this body."""
    male = _draw_sizes(study, generator)
    share = share_of_male(study.sex)
    sizes = replace(
        male,
        lv_internal_diameter_mm=share * male.lv_internal_diameter_mm,
        lv_wall_mm=share * male.lv_wall_mm,
        rv_diameter_mm=share * male.rv_diameter_mm,
        ra_diameter_mm=share * male.ra_diameter_mm,
        la_volume_ml=male.la_volume_ml * habitus.bsa_m2 / REFERENCE_BSA_M2,
    )
    middle = np.array([26.0, -16.0, habitus.heart_height_mm]) + generator.normal(0, 3, 3) * [1, 1, 1.3]
    lie = Lie(middle, generator.normal(0, 1, 3) * [0.06, 0.06, 0.09])
    ratio = _place(male, lie, REFERENCE_HALF_WIDTH_MM).cardiothoracic_ratio
    return _place(sizes, _fitted(lie, sizes, ratio, habitus), habitus.chest_half_width_mm)


def share_of_male(sex: str) -> float:
    """Length of a normal heart of this sex over that of a man, after the limits of ASE/EACVI 2015."""
    return NORMAL_LV_MM[sex] / NORMAL_LV_MM["M"]


def resting_pressure(score: float) -> float:
    """Systolic pulmonary pressure in mmHg from its normal score: about a third of patients lie above 35."""
    return float(27 + 5 * score + 58 * (1 - np.exp(-1.15 * max(score - 0.34, 0))))


def _draw_sizes(study: Study, generator: np.random.Generator) -> Sizes:
    """Sizes that this heart would have in a man of reference build."""
    score = study.scores
    size = 1 + 0.045 * score["heart_size"]
    dilation = score["left_ventricle"]
    pressure = resting_pressure(score["pressure"])
    noise = generator.standard_normal(4)
    sizes = {
        "lv_internal_diameter_mm": (NORMAL_LV_MM["M"] + 5.0 * dilation + 2.4 * max(dilation, 0) ** 2)
        * (0.7 + 0.3 * size),
        "lv_wall_mm": np.clip(9.6 + 1.5 * score["wall"], 6.5, 15),
        "la_volume_ml": 28.2 * np.exp(0.40 * score["left_atrium"]) * REFERENCE_BSA_M2,
        "rv_diameter_mm": (33 + 0.28 * (pressure - 27) + 3.2 * score["right_ventricle"]) * size,
        "ra_diameter_mm": (42 + 0.22 * (pressure - 27) + 2.5 * noise[0]) * size,
        "pulmonary_artery_mm": 19.0 + 0.25 * pressure + 2.0 * noise[1],
        "aorta_mm": 29 + 0.09 * (study.age_years - 50) + 1.8 * noise[2],
        "fat_mm": np.clip(4.5 + 1.5 * noise[3], 2.5, 8),
    }
    return Sizes(**{name: float(value) for name, value in sizes.items()})


def _fitted(lie: Lie, sizes: Sizes, ratio: float, habitus: Habitus) -> Lie:
    """The lie in which a heart of these sizes takes this share of this chest, or the nearest natural one."""
    half_width = habitus.chest_half_width_mm
    ratios = [_place(sizes, replace(lie, breadth=b), half_width).cardiothoracic_ratio for b in BREADTHS]
    return replace(lie, breadth=float(np.interp(ratio, ratios, BREADTHS)))


def _place(sizes: Sizes, lie: Lie, chest_half_width_mm: float) -> Heart:
    long_axis, septal_axis = _axes(lie)
    axes = np.stack([long_axis, septal_axis, np.cross(long_axis, septal_axis)])
    lv_radius = sizes.lv_internal_diameter_mm / 2
    lv_half = (28 + 0.27 * sizes.lv_internal_diameter_mm) * (1 + lie.breadth)
    lv = lie.left_ventricle_mm
    rv_radius = sizes.rv_diameter_mm / 2
    rv = lv + septal_axis * (lv_radius + sizes.lv_wall_mm + 0.35 * rv_radius) - 4 * long_axis
    la_radius = np.cbrt(sizes.la_volume_ml * 1000 * 3 / (4 * np.pi))
    la = lv - long_axis * (lv_half + sizes.lv_wall_mm + 0.62 * la_radius) + [2, 8, -2]
    ra_radius = sizes.ra_diameter_mm / 2
    ra = rv - long_axis * (0.8 * lv_half + 0.5 * ra_radius) + [-4, 4, -6]
    chambers = {
        "left_ventricle": Chamber(lv, np.array([lv_half, lv_radius, lv_radius]), axes),
        "right_ventricle": Chamber(rv, np.array([0.95 * lv_half + 2, rv_radius, 1.25 * rv_radius + 4]), axes),
        # flattened from front to back; the product of the factors is 1, so the volume is the true one
        "left_atrium": Chamber(la, la_radius * np.array([1.12, 0.85, 1 / (1.12 * 0.85)]), np.eye(3)),
        "right_atrium": Chamber(ra, ra_radius * np.array([0.95, 1.0, 1.2]), np.eye(3)),
    }
    ratio = _width_mm(sizes, chambers) / (2 * chest_half_width_mm)
    return Heart(**(vars(sizes) | chambers), cardiothoracic_ratio=ratio, long_axis=long_axis, septal_axis=septal_axis)


def _axes(lie: Lie) -> tuple[Point, Point]:
    """Long axis and septal axis, turned in the frontal plane by the breadth."""
    angle = 2.3 * lie.breadth
    frontal = np.array([[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]])
    long_axis = unit(frontal @ (np.array([0.64, -0.54, -0.50]) + lie.turn))
    septal = frontal @ np.array([-0.55, -0.80, 0.10])
    return long_axis, unit(septal - (septal @ long_axis) * long_axis)


def _width_mm(sizes: Sizes, chambers: dict[str, Chamber]) -> float:
    """Widest heart from right to left, with myocardium and fat."""
    wall = {"left_ventricle": sizes.lv_wall_mm, "right_ventricle": 3.0, "left_atrium": 2.0, "right_atrium": 2.0}
    half = {name: extent(c.radii + wall[name] + sizes.fat_mm, c.axes)[0] for name, c in chambers.items()}
    right = min(c.centre[0] - half[name] for name, c in chambers.items())
    left = max(c.centre[0] + half[name] for name, c in chambers.items())
    return float(left - right)
