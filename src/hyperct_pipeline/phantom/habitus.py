"""Body build of a patient: sizes of chest, wall, diaphragm and skeleton, independent of any single task."""

from dataclasses import dataclass

import numpy as np

from hyperct_pipeline.phantom.cohort import Study


@dataclass(frozen=True)
class Habitus:
    """Lengths in mm in the patient frame (LPS): x = 0 midline, y = 0 middle of the chest, z = 0 lowest pleura."""

    bsa_m2: float
    lung_height_mm: float  # lowest pleura to apex
    chest_half_width_mm: float  # inner chest, widest
    chest_half_depth_mm: float
    muscle_mm: float  # chest wall without subcutaneous fat
    fat_mm: float
    dome_right_mm: float  # top of the diaphragm above z = 0
    dome_left_mm: float
    collapsed: tuple[int, ...]  # sides of a lower lobe that has lost volume: -1 right, +1 left
    breast_mm: float  # 0 for none
    bone_hu: float  # trabecular
    lung_hu: float
    rib_phase: float
    heart_height_mm: float  # z of the middle of the left ventricle
    patient_shift_mm: tuple[float, float, float]  # of the patient on the scanner, added to every DICOM position

    def level(self, share: float) -> float:
        """z in mm at a share of the lung height; the carina is near 0.64, the top of the arch near 0.78."""
        return share * self.lung_height_mm

    @property
    def body_width_mm(self) -> float:
        """From skin to skin at the widest level of the chest."""
        return 2 * (self.chest_half_width_mm + self.muscle_mm + self.fat_mm)


def draw_sides(generator: np.random.Generator, both: float) -> tuple[int, ...]:
    """Right (-1), left (+1), or both with probability `both`."""
    return (-1, 1) if generator.random() < both else (int(generator.choice([-1, 1])),)


def draw_habitus(study: Study, patient: np.random.Generator, generator: np.random.Generator) -> Habitus:
    """Build of the patient (same in both studies) as this study finds it (breath, findings)."""
    male = study.sex == "M"
    height = patient.normal(176 if male else 163, 7)
    bmi = float(np.clip(patient.normal(26.5, 4.2), 18, 38))
    weight = bmi * (height / 100) ** 2
    stature = height / 170
    lung = (238 if male else 222) * stature + patient.normal(0, 9)
    half_width = (136 if male else 124) * stature + patient.normal(0, 5) + 0.5 * (bmi - 26)
    half_depth = (88 if male else 80) * stature + patient.normal(0, 4) + 0.5 * (bmi - 26)
    muscle = patient.normal(21 if male else 17, 2)
    fat = max(0.0, 1.35 * (bmi - 17)) + (2 if male else 6)
    breast = 0.0 if male else float(patient.uniform(20, 45))
    bone = patient.normal(215, 25) - 1.7 * max(study.age_years - 40, 0)
    phase = patient.uniform(0, 1)
    breath = float(np.clip(generator.normal(0, 1), -2, 2))
    right, left, collapsed = _diaphragm(study, (0.29 - 0.025 * breath) * lung, generator)
    return Habitus(
        bsa_m2=float(np.sqrt(height * weight / 3600)),  # Mosteller 1987
        lung_height_mm=float(lung),
        chest_half_width_mm=float(half_width),
        chest_half_depth_mm=float(half_depth),
        muscle_mm=float(np.clip(muscle, 13, 27)),
        fat_mm=float(fat),
        dome_right_mm=float(right),
        dome_left_mm=float(left),
        collapsed=collapsed,
        breast_mm=breast,
        bone_hu=float(np.clip(bone, 90, 260)),
        lung_hu=float(-855 + generator.normal(0, 14) - 8 * breath),
        rib_phase=float(phase),
        heart_height_mm=float(0.5 * (right + left) + 30),
        patient_shift_mm=(
            float(np.round(generator.normal(0, 6), 1)),
            float(np.round(generator.normal(-15, 8), 1)),
            float(np.round(generator.uniform(-420, -180), 1)),
        ),
    )


def _diaphragm(study: Study, relaxed_mm: float, generator: np.random.Generator) -> tuple[float, float, tuple[int, ...]]:
    """Tops of the right and left dome in mm, and the sides that collapse: emphysema lowers, collapse raises."""
    right = relaxed_mm - 14 * study.severity("emphysema")
    left = right - generator.uniform(6, 16)
    sides = draw_sides(generator, 0.4)  # in every study, so that what is drawn next does not depend on findings
    collapse = study.severity("atelectasis")
    if not collapse:
        return right, left, ()
    return right + 12 * collapse * (-1 in sides), left + 12 * collapse * (1 in sides), sides
