"""What an echo laboratory measures on the heart, and the cardiac labels that follow.

The quantities come from the chamber sizes with physiological scatter, so a model that sees the chambers can learn
them, but not perfectly. Relations after ASE/EACVI 2015 (chambers), ASE 2025 (right heart) and ESC/ERS 2022
(4 v^2 + right atrial pressure), simplified. Sizes count relative to the normal heart of the sex, as in the
guidelines: neither sex nor build decides a label.
"""

from dataclasses import dataclass

import numpy as np

from hyperct_pipeline.phantom.cohort import Study
from hyperct_pipeline.phantom.habitus import Habitus
from hyperct_pipeline.phantom.heart import NORMAL_LV_MM, Heart, resting_pressure, share_of_male

RV_GRADES = ("normal", "low normal", "mildly reduced", "moderately reduced", "severely reduced")
RV_GRADE_FROM = (0.38, 0.67, 1.35, 1.9)  # lower limits of the grades after "normal", on the strain scale


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


def measure_echo(study: Study, habitus: Habitus, heart: Heart, generator: np.random.Generator) -> Echo:
    """What a resting echo on the day of the CT would say."""
    noise = generator.standard_normal(8)
    share = share_of_male(study.sex)
    rv, ra = heart.rv_diameter_mm / share, heart.ra_diameter_mm / share  # mm, as they would be in a man
    dilation = (heart.lv_internal_diameter_mm / share - NORMAL_LV_MM["M"]) / 5.0
    lvef = 61 - 6.4 * np.log1p(np.exp(1.8 * (dilation - 0.1))) / 1.2 + 6.0 * noise[0]
    from_artery = (heart.pulmonary_artery_mm - 19.0) / 0.25
    from_ventricle = 27 + (rv - 33) / 0.28
    pasp = resting_pressure(study.scores["pressure"]) + 5.5 * noise[1]
    pasp += 0.06 * (from_ventricle - pasp) + 0.06 * (from_artery - pasp)
    right_atrial = 3.0 + 5.0 * (ra > 46 + 3 * noise[2]) + 7.0 * (ra > 57)
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
