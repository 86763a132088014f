"""One study from plan to voxels: draws build, heart and findings, paints them, and states the truth."""

from dataclasses import asdict, dataclass

import numpy as np

from hyperct_pipeline.phantom import lung_findings as lung
from hyperct_pipeline.phantom import mediastinal_findings as mediastinal
from hyperct_pipeline.phantom.anatomy import BLOOD, healthy_chest
from hyperct_pipeline.phantom.cohort import FINDINGS, PREVALENCE, Study
from hyperct_pipeline.phantom.echo import Echo, cardiac_labels, measure_echo
from hyperct_pipeline.phantom.habitus import Habitus, draw_habitus
from hyperct_pipeline.phantom.heart import CARDIOTHORACIC_LIMIT, Heart, draw_heart
from hyperct_pipeline.phantom.mediastinum import paint_mediastinum
from hyperct_pipeline.phantom.shapes import Canvas, Field

# In this order: what collapses or fills lung first, what lies in aerated lung last.
PAINTERS = {
    "emphysema": lung.emphysema,
    "mosaic_attenuation_pattern": lung.mosaic_attenuation,
    "interlobular_septal_thickening": lung.septal_thickening,
    "lung_opacity": lung.opacity,
    "peribronchial_thickening": lung.peribronchial_thickening,
    "bronchiectasis": lung.bronchiectasis,
    "pulmonary_fibrotic_sequela": lung.fibrotic_sequela,
    "consolidation": lung.consolidation,
    "atelectasis": lung.atelectasis,
    "pleural_effusion": lung.pleural_effusion,
    "hiatal_hernia": mediastinal.hiatal_hernia,
    "lymphadenopathy": mediastinal.lymphadenopathy,
    "arterial_wall_calcification": mediastinal.arterial_calcification,
    "coronary_artery_wall_calcification": mediastinal.coronary_calcification,
    "medical_material": mediastinal.medical_material,
}


@dataclass(frozen=True)
class Anatomy:
    """What a study's patient is made of, before any voxel."""

    habitus: Habitus
    heart: Heart
    echo: Echo
    severity: dict[str, float]  # FINDINGS -> 0 (absent) or (0.35, 1]

    def labels(self, sex: str) -> dict[str, int]:
        """The 25 true labels."""
        findings = {name: int(self.severity[name] > 0) for name in FINDINGS}
        return findings | cardiac_labels(self.echo, sex)

    def measurements(self) -> dict[str, float]:
        """Heart geometry in mm, mL and ratios, by column name of the truth table."""
        sizes = asdict(self.heart)
        return {name: round(value, 3) for name, value in sizes.items() if isinstance(value, float)}


def draw_anatomy(study: Study, seed: int) -> Anatomy:
    """Anatomy of a study; depends on the seed and the study alone, never on others or on the scanner."""
    generator = np.random.default_rng([seed, study.index, 1])
    habitus = draw_habitus(study, np.random.default_rng([seed, study.patient_index, 2]), generator)
    heart = draw_heart(study, habitus, generator)
    echo = measure_echo(study, habitus, heart, generator)
    severity = {name: study.severity(name) for name in PREVALENCE}
    excess = heart.cardiothoracic_ratio + generator.normal(0, 0.018) - CARDIOTHORACIC_LIMIT
    severity["cardiomegaly"] = float(np.clip(0.35 + 8 * excess, 0.35, 1)) if excess > 0 else 0.0
    return Anatomy(habitus, heart, echo, severity)


def paint_chest(
    study: Study, anatomy: Anatomy, grid: tuple[Field, Field, Field], seed: int, blood_hu: float = BLOOD
) -> tuple[Field, list[tuple[float, float, float, float]]]:
    """Noise-free HU (Z, Y, X) float32 on x, y, z in mm of the patient, and the nodules as (x, y, z, diameter) mm."""
    canvas = Canvas(*grid)
    generator = np.random.default_rng([seed, study.patient_index, 3])
    scene = healthy_chest(canvas, anatomy.habitus, anatomy.heart, generator, blood_hu)
    severity = anatomy.severity
    fluid = severity["pericardial_effusion"]
    paint_mediastinum(scene, 1.5 + 16 * fluid if fluid else 0.0)
    generator = np.random.default_rng([seed, study.index, 4])
    for name, painter in PAINTERS.items():
        if severity[name]:
            painter(scene, severity[name], generator)
    found = lung.nodules(scene, severity["lung_nodule"], generator) if severity["lung_nodule"] else []
    return canvas.hu, found
