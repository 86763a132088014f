"""The heart: chamber sizes from latent scores, what echo measures on them, and where the chambers lie.

The echo quantities follow from the sizes with physiological scatter, so a model that sees the chambers can learn
them, but not perfectly. Relations after ASE/EACVI 2015 (chambers), ASE 2025 (right heart) and ESC/ERS 2022
(4 v^2 + right atrial pressure), simplified.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hyperct_pipeline.phantom.cohort import Study
from hyperct_pipeline.phantom.habitus import Habitus
from hyperct_pipeline.phantom.shapes import Point, extent, unit

RV_GRADES = ("normal", "low normal", "mildly reduced", "moderately reduced", "severely reduced")
RV_GRADE_FROM = (0.4, 0.72, 1.35, 1.9)  # lower limits of the grades after "normal", on the strain scale
NORMAL_LV_MM = {"M": 54.6, "F": 49.0}  # mean internal diameter
CARDIOTHORACIC_LIMIT = 0.55  # ratio above which a report says cardiomegaly


@dataclass(frozen=True)
class Echo:
    """True resting echo at the time of the CT, in the resolution in which a laboratory reports it."""

    lvef_percent: int
    pasp_mmhg: int
    tr_vmax_m_s: float
    la_volume_index_ml_m2: float
    lvidd_cm: float
    e_a_ratio: float
    rv_function: str


@dataclass(frozen=True)
class Chamber:
    """An ellipsoid: centre (x, y, z) mm, radii mm along the rows of `axes`."""

    centre: Point
    radii: Point
    axes: NDArray[np.float64]


@dataclass(frozen=True)
class Heart:
    """Sizes in mm and mL, and the chambers they make."""

    lv_internal_diameter_mm: float
    lv_wall_mm: float
    la_volume_ml: float
    rv_diameter_mm: float
    ra_diameter_mm: float
    pulmonary_artery_mm: float
    aorta_mm: float
    fat_mm: float
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


def draw_heart(study: Study, habitus: Habitus, generator: np.random.Generator) -> Heart:
    """Chamber sizes of a study and their place in this body."""
    score = study.scores
    size = 1 + 0.045 * score["heart_size"]
    dilation = score["left_ventricle"]
    lv = (NORMAL_LV_MM[study.sex] + 5.0 * dilation + 2.4 * max(dilation, 0) ** 2) * (0.7 + 0.3 * size)
    pressure = resting_pressure(score["pressure"])
    sizes = {
        "lv_internal_diameter_mm": lv,
        "lv_wall_mm": float(np.clip(9.6 + 1.5 * score["wall"], 6.5, 15)),
        "la_volume_ml": 29.5 * np.exp(0.40 * score["left_atrium"]) * habitus.bsa_m2,
        "rv_diameter_mm": (33 + 0.28 * (pressure - 27) + 3.2 * score["right_ventricle"]) * size,
        "ra_diameter_mm": (42 + 0.22 * (pressure - 27) + 2.5 * generator.standard_normal()) * size,
        "pulmonary_artery_mm": 19.0 + 0.25 * pressure + 2.0 * generator.standard_normal(),
        "aorta_mm": 29 + 0.09 * (study.age_years - 50) + 1.8 * generator.standard_normal(),
        "fat_mm": float(np.clip(4.5 + 1.5 * generator.standard_normal(), 2.5, 8)),
    }
    sizes = {name: float(value) for name, value in sizes.items()}
    place = _place(sizes, habitus, generator)
    chambers = [place[name] for name in ("left_ventricle", "right_ventricle", "left_atrium", "right_atrium")]
    assert all(isinstance(c, Chamber) for c in chambers)
    return Heart(**sizes, **place, cardiothoracic_ratio=_ratio(sizes, place, habitus))  # type: ignore[arg-type]


def resting_pressure(score: float) -> float:
    """Systolic pulmonary pressure in mmHg from its normal score: about a third of patients lie above 35."""
    return float(27 + 5 * score + 58 * (1 - np.exp(-1.15 * max(score - 0.34, 0))))


def _place(sizes: dict[str, float], habitus: Habitus, generator: np.random.Generator) -> dict[str, object]:
    jitter = generator.normal(0, 1, 3)
    long_axis = unit([0.64 + 0.06 * jitter[0], -0.54 + 0.06 * jitter[1], -0.50 + 0.09 * jitter[2]])
    septal = np.array([-0.55, -0.80, 0.10])
    septal_axis = unit(septal - (septal @ long_axis) * long_axis)
    axes = np.stack([long_axis, septal_axis, np.cross(long_axis, septal_axis)])
    lv_radius = sizes["lv_internal_diameter_mm"] / 2
    lv_half = 28 + 0.27 * sizes["lv_internal_diameter_mm"]
    wall = sizes["lv_wall_mm"]
    lv = np.array([26.0, -16.0, habitus.heart_height_mm]) + generator.normal(0, 3, 3) * [1, 1, 1.3]
    rv_radius = sizes["rv_diameter_mm"] / 2
    rv = lv + septal_axis * (lv_radius + wall + 0.35 * rv_radius) - 4 * long_axis
    la_radius = np.cbrt(sizes["la_volume_ml"] * 1000 * 3 / (4 * np.pi))
    la = lv - long_axis * (lv_half + wall + 0.62 * la_radius) + [2, 8, -2]
    ra_radius = sizes["ra_diameter_mm"] / 2
    ra = rv - long_axis * (0.8 * lv_half + 0.5 * ra_radius) + [-4, 4, -6]
    return {
        "long_axis": long_axis,
        "septal_axis": septal_axis,
        "left_ventricle": Chamber(lv, np.array([lv_half, lv_radius, lv_radius]), axes),
        "right_ventricle": Chamber(rv, np.array([0.95 * lv_half + 2, rv_radius, 1.25 * rv_radius + 4]), axes),
        # flattened from front to back; the product of the factors is 1, so the volume is the true one
        "left_atrium": Chamber(la, la_radius * np.array([1.12, 0.85, 1 / (1.12 * 0.85)]), np.eye(3)),
        "right_atrium": Chamber(ra, ra_radius * np.array([0.95, 1.0, 1.2]), np.eye(3)),
    }


def _ratio(sizes: dict[str, float], place: dict[str, object], habitus: Habitus) -> float:
    """Widest heart (with myocardium and fat) over widest inner chest, both across."""
    right, left = [], []
    for name, wall in (
        ("left_ventricle", sizes["lv_wall_mm"]),
        ("right_ventricle", 3.0),
        ("left_atrium", 2.0),
        ("right_atrium", 2.0),
    ):
        chamber = place[name]
        assert isinstance(chamber, Chamber)
        half = extent(chamber.radii + wall + sizes["fat_mm"], chamber.axes)[0]
        right.append(chamber.centre[0] - half)
        left.append(chamber.centre[0] + half)
    return float((max(left) - min(right)) / (2 * habitus.chest_half_width_mm))


def measure_echo(study: Study, habitus: Habitus, heart: Heart, generator: np.random.Generator) -> Echo:
    """What a resting echo on the day of the CT would say."""
    noise = generator.standard_normal(8)
    dilation = (heart.lv_internal_diameter_mm - NORMAL_LV_MM[study.sex]) / 5.0
    lvef = 61 - 6.4 * np.log1p(np.exp(1.8 * (dilation - 0.1))) / 1.2 + 6.0 * noise[0]
    from_artery = (heart.pulmonary_artery_mm - 19.0) / 0.25
    from_ventricle = 27 + (heart.rv_diameter_mm - 33) / 0.28
    pasp = resting_pressure(study.scores["pressure"]) + 5.5 * noise[1]
    pasp += 0.06 * (from_ventricle - pasp) + 0.06 * (from_artery - pasp)
    right_atrial = 3.0 + 5.0 * (heart.ra_diameter_mm > 46 + 3 * noise[2]) + 7.0 * (heart.ra_diameter_mm > 57)
    tr_vmax = np.sqrt(max(pasp - right_atrial, 4.0) / 4) * np.exp(0.06 * noise[7])
    la_index = heart.la_volume_ml / habitus.bsa_m2 * np.exp(0.11 * noise[3])
    e_a = 0.92 * np.exp(0.030 * (la_index - 31) + 0.16 * noise[4])
    strain = (heart.rv_diameter_mm / heart.lv_internal_diameter_mm - 0.62) * 3.0
    strain += 0.016 * (pasp - 27) + 0.38 * noise[5]
    return Echo(
        lvef_percent=int(np.clip(round(float(lvef)), 12, 78)),
        pasp_mmhg=int(np.clip(round(float(pasp)), 14, 120)),
        tr_vmax_m_s=round(float(tr_vmax), 2),
        la_volume_index_ml_m2=round(float(la_index), 1),
        lvidd_cm=round(heart.lv_internal_diameter_mm / 10 + 0.22 * float(noise[6]), 2),
        e_a_ratio=round(float(np.clip(e_a, 0.3, 5)), 2),
        rv_function=RV_GRADES[int(np.searchsorted(RV_GRADE_FROM, strain))],
    )


def cardiac_labels(echo: Echo, sex: str) -> dict[str, int]:
    """The seven cardiac tasks by the rules of the definition set `hyperct`."""
    enlarged = echo.la_volume_index_ml_m2 > 35
    return {
        "reduced_rv_systolic_function": int(echo.rv_function.endswith("reduced")),
        "reduced_lv_systolic_function": int(echo.lvef_percent < 50),
        "pulmonary_hypertension": int(echo.pasp_mmhg > 35),
        "atrial_chamber_enlargement": int(enlarged),
        "ventricular_enlargement": int(echo.lvidd_cm > (5.9 if sex == "M" else 5.3)),
        "left_atrial_filling_pressure": int(echo.e_a_ratio >= 2 or enlarged or echo.tr_vmax_m_s > 2.8),
        "right_atrial_filling_pressure": int(echo.tr_vmax_m_s > 3.4),
    }
