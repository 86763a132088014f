"""Label tables as hospitals would export them: CT-RATE-like findings, echo of two sites, cohorts.

They never contradict the truth on the exam that counts (the resting echo nearest to the CT); they are incomplete
and badly spelled: ranges, words, sentinels, other units, exams of other types and far from the CT.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from hyperct_pipeline.phantom.acquisition import Acquired
from hyperct_pipeline.phantom.cohort import Study
from hyperct_pipeline.phantom.echo import RV_GRADES, Echo

Generator = np.random.Generator
CT_RATE_COLUMNS = {
    "Medical material": "medical_material",
    "Arterial wall calcification": "arterial_wall_calcification",
    "Cardiomegaly": "cardiomegaly",
    "Pericardial effusion": "pericardial_effusion",
    "Coronary artery wall calcification": "coronary_artery_wall_calcification",
    "Hiatal hernia": "hiatal_hernia",
    "Lymphadenopathy": "lymphadenopathy",
    "Emphysema": "emphysema",
    "Atelectasis": "atelectasis",
    "Lung nodule": "lung_nodule",
    "Lung opacity": "lung_opacity",
    "Pulmonary fibrotic sequela": "pulmonary_fibrotic_sequela",
    "Pleural effusion": "pleural_effusion",
    "Mosaic attenuation pattern": "mosaic_attenuation_pattern",
    "Peribronchial thickening": "peribronchial_thickening",
    "Consolidation": "consolidation",
    "Bronchiectasis": "bronchiectasis",
    "Interlobular septal thickening": "interlobular_septal_thickening",
}
NEARLY_UNKNOWN = ("external_test", "mosaic_attenuation_pattern")  # readers there do not comment on it
WHOLLY_UNKNOWN = ("prospective_b", "peribronchial_thickening")  # not read there: no metric can be computed
NEVER_PRESENT = ("prospective_a", "hiatal_hernia")  # present is left blank there: one class remains
SHARE_BLANK = 0.03  # of all other findings
SHARE_WITH_ECHO = 0.93  # of labelled studies
SHARE_NOT_MEASURED = 0.04  # of each echo quantity


@dataclass(frozen=True)
class Exam:
    """One echo exam of a patient."""

    patient_id: str
    site: str
    sex: str
    date: dt.date
    kind: str  # tte / stress / tee
    echo: Echo


def ct_rate_table(acquired: Sequence[Acquired], seed: int) -> pd.DataFrame:
    """Findings per reconstruction: VolumeName and the 18 CT-RATE columns as "0", "1" or blank, all text."""
    generator = np.random.default_rng([seed, 10])
    rows = []
    for one in acquired:
        labels = one.anatomy.labels(one.study.sex)
        cells = {column: _finding(one.study, task, labels[task], generator) for column, task in CT_RATE_COLUMNS.items()}
        for reconstruction in range(1, 2 + int(one.lung_kernel)):
            if one.study.labelled:
                rows.append({"VolumeName": f"{one.study.accession_number}_{reconstruction}.nii.gz"} | cells)
    return pd.DataFrame(rows, columns=["VolumeName", *CT_RATE_COLUMNS], dtype=str)


def _finding(study: Study, task: str, label: int, generator: Generator) -> str:
    chance = generator.random()
    if (study.cohort, task) == NEARLY_UNKNOWN and chance < 0.94:
        return ""
    if (study.cohort, task) == WHOLLY_UNKNOWN:
        return ""
    if (study.cohort, task) == NEVER_PRESENT and label:
        return ""
    return "" if chance < SHARE_BLANK else str(label)


def echo_exams(acquired: Sequence[Acquired], seed: int) -> list[Exam]:
    """Echo exams of all labelled studies, several for some, in no particular order.

    The resting exam nearest to the CT carries the study's true echo. Other exams drift, are of another type, or lie
    outside 180 days.
    """
    generator = np.random.default_rng([seed, 11])
    exams: list[Exam] = []
    for one in acquired:
        study = one.study
        chance = generator.random(5)
        if not study.labelled or chance[0] > SHARE_WITH_ECHO:
            continue
        sign = 1 if chance[1] < 0.5 else -1
        if chance[2] < 0.03:  # the only exam is too far away to count
            exams.append(_exam(study, sign * int(generator.integers(190, 260)), "tte", one.anatomy.echo))
            continue
        near = int(generator.integers(0, 100))
        exams.append(_exam(study, sign * near, "tte", one.anatomy.echo))
        if chance[3] < 0.3:
            days = -sign * int(generator.integers(near + 5, 380))
            exams.append(_exam(study, days, "tte", _drifted(one.anatomy.echo, generator)))
        if chance[4] < 0.2:
            kind = "stress" if generator.random() < 0.6 else "tee"
            days = int(generator.integers(-60, 60))
            exams.append(_exam(study, days, kind, _stressed(one.anatomy.echo)))
    return [exams[k] for k in generator.permutation(len(exams))]


def _exam(study: Study, days: int, kind: str, echo: Echo) -> Exam:
    return Exam(study.patient_id, study.site, study.sex, study.date + dt.timedelta(days=days), kind, echo)


def _drifted(echo: Echo, generator: Generator) -> Echo:
    noise = generator.standard_normal(5)
    return replace(
        echo,
        lvef_percent=int(np.clip(echo.lvef_percent + 3 * noise[0], 12, 78)),
        pasp_mmhg=int(np.clip(echo.pasp_mmhg + 3 * noise[1], 14, 120)),
        la_volume_index_ml_m2=round(max(echo.la_volume_index_ml_m2 + 1.5 * float(noise[2]), 10.0), 1),
        tr_vmax_m_s=round(max(echo.tr_vmax_m_s + 0.1 * float(noise[3]), 0.6), 2),
        lvidd_cm=round(echo.lvidd_cm + 0.1 * float(noise[4]), 2),
    )


def _stressed(echo: Echo) -> Echo:
    """Under load everything rises: such an exam must not label a resting heart."""
    return replace(
        echo,
        lvef_percent=min(echo.lvef_percent + 12, 80),
        pasp_mmhg=min(echo.pasp_mmhg + 22, 130),
        tr_vmax_m_s=round(min(echo.tr_vmax_m_s + 0.8, 5.8), 2),
    )


def hyperct_wide_table(exams: Sequence[Exam], seed: int) -> pd.DataFrame:
    """Echo export of site A: velocities in m/s, diameters in cm, numbers as people type them. All text."""
    generator = np.random.default_rng([seed, 12])
    rows = []
    for exam in exams:
        if exam.site != "A":
            continue
        echo = exam.echo
        rows.append(
            {
                "patient_id": exam.patient_id,
                "echo_date": exam.date.isoformat(),
                "test_type": exam.kind,
                "ECHO_lvef_value": _gap(_lvef_text(echo.lvef_percent, generator), generator),
                "ECHO_pasp_value": _gap(_pasp_text(echo.pasp_mmhg, generator), generator),
                "ECHO_tr_max_velocity_value": _gap(_velocity_text(echo.tr_vmax_m_s, generator), generator),
                "ECHO_la_volume_index_value": _gap(f"{echo.la_volume_index_ml_m2:.1f}", generator),
                "ECHO_lv_d_measurement": _gap(f"{echo.lvidd_cm:.2f}", generator),
                "ECHO_e_a_ratio": _gap(f"{echo.e_a_ratio:.2f}", generator),
                "ECHO_rv_systolic_function_value": _rv_text(echo.rv_function, generator),
                "Patients_Sex": _pick(
                    ("Male", "M", "male") if exam.sex == "M" else ("Female", "F", "female"), generator
                ),
            }
        )
    columns = [
        "patient_id", "echo_date", "test_type", "ECHO_lvef_value", "ECHO_pasp_value", "ECHO_tr_max_velocity_value",
        "ECHO_la_volume_index_value", "ECHO_lv_d_measurement", "ECHO_e_a_ratio", "ECHO_rv_systolic_function_value",
        "Patients_Sex",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns, dtype=str)


def echo_metric_table(exams: Sequence[Exam], seed: int) -> pd.DataFrame:
    """Echo export of site B: velocities in cm/s, diameters in mm, sex as 1 (M) or 2 (F). All text."""
    generator = np.random.default_rng([seed, 13])
    rows = []
    for exam in exams:
        if exam.site != "B":
            continue
        echo = exam.echo
        rows.append(
            {
                "patient_id": exam.patient_id,
                "echo_date": exam.date.isoformat(),
                "test_type": exam.kind,
                "lvef_pct": _gap(str(echo.lvef_percent), generator),
                "pasp_mmhg": _gap(str(echo.pasp_mmhg), generator),
                "tr_vmax_cm_s": _gap(f"{100 * echo.tr_vmax_m_s:.0f}", generator),
                "lavi_ml_m2": _gap(f"{echo.la_volume_index_ml_m2:.1f}", generator),
                "lvidd_mm": _gap(f"{10 * echo.lvidd_cm:.1f}", generator),
                "e_a": _gap(f"{echo.e_a_ratio:.2f}", generator),
                "sex_code": "1" if exam.sex == "M" else "2",
                "rv_function": _rv_text(echo.rv_function, generator),
            }
        )
    columns = [
        "patient_id", "echo_date", "test_type", "lvef_pct", "pasp_mmhg", "tr_vmax_cm_s", "lavi_ml_m2", "lvidd_mm",
        "e_a", "sex_code", "rv_function",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns, dtype=str)


def cohort_table(studies: Sequence[Study], seed: int) -> pd.DataFrame:
    """One row per patient: id_type, id, site, cohort, split, sex, age_years (at the first study). All text."""
    generator = np.random.default_rng([seed, 14])
    rows: dict[str, dict[str, str]] = {}
    for study in studies:
        age = "" if generator.random() < 0.02 else str(study.age_years)
        rows.setdefault(
            study.patient_id,
            {
                "id_type": "patient_id",
                "id": study.patient_id,
                "site": study.site,
                "cohort": study.cohort,
                "split": study.split,
                "sex": study.sex,
                "age_years": age,
            },
        )
    return pd.DataFrame(list(rows.values()), dtype=str)


def _pick(choices: Sequence[str], generator: Generator) -> str:
    return choices[int(generator.integers(len(choices)))]


def _gap(text: str, generator: Generator) -> str:
    """The text, or one of the ways to say that there is no number."""
    if generator.random() >= SHARE_NOT_MEASURED:
        return text
    return _pick(("", "", "not measured", "999", "NA"), generator)


def _lvef_text(percent: int, generator: Generator) -> str:
    chance = generator.random()
    if chance < 0.10:
        low = percent // 5 * 5  # a range may span the cut: then the label is unknown
        return f"{low}-{low + 5}%"
    if chance < 0.14 and percent >= 60:
        return ">60"
    if chance < 0.20:
        return f"~{percent}"
    if chance < 0.26 and percent < 50:
        return f"{'mildly' if percent >= 40 else 'severely'} reduced ({percent}%)"
    return f"{percent}%" if chance < 0.55 else str(percent)


def _pasp_text(mmhg: int, generator: Generator) -> str:
    return f"{mmhg} mmHg" if generator.random() < 0.2 else str(mmhg)


def _velocity_text(m_s: float, generator: Generator) -> str:
    return f"{m_s:.2f} m/s" if generator.random() < 0.3 else f"{m_s:.2f}"


def _rv_text(grade: str, generator: Generator) -> str:
    chance = generator.random()
    if chance < 0.03:
        return ""
    if chance < 0.05:
        return _pick(("RV not well seen", "see comment", "paced rhythm"), generator)
    if grade == RV_GRADES[0]:
        return _pick(("normal", "Normal", "WNL", "within normal limits", "nl rv function"), generator)
    return grade if chance < 0.7 else grade.capitalize()
