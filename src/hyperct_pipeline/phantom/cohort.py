"""Who is in the phantom archive: cohorts, patients, studies and what each of them has.

Nothing here sees a voxel. Every study gets a vector of latent normal scores (one per finding and per heart
quantity) that share a few causes (age, heart failure, infection, smoking), so findings occur together without
one being a copy of another. Scores are stratified inside each cohort: prevalences are alike everywhere and
neither site, vendor nor cohort says anything about a label.
"""

import datetime as dt
from dataclasses import dataclass as plain_dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from scipy.special import ndtri

Cohort = Literal["development", "internal_test", "external_test", "prospective_a", "prospective_b"]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class PhantomConfig:
    """Size and look of the synthetic archive."""

    seed: Count = 2026  # same seed and settings, same bytes
    n_development: Count = 230  # studies to train and validate on, site A
    n_internal_test: Count = 46  # studies, site A
    n_external_test: Count = 46  # studies, site B
    n_prospective_a: Count = 46  # studies, site A
    n_prospective_b: Count = 46  # studies, site B
    n_broken: Count = 9  # further studies that must be refused or survived, one kind after the other
    n_unlabelled: Count = 4  # development studies that no label table mentions
    share_repeat: Share = 0.08  # studies that are the second one of a patient
    share_thin: Share = 0.2  # studies with a thin series besides the thick one
    share_lung_kernel: Share = 0.3  # studies with a second, sharp reconstruction
    matrix: Annotated[int, Field(ge=32, le=1024)] = 128  # rows and columns
    field_of_view_mm: tuple[float, float] = (340.0, 400.0)  # smallest, largest
    thick_mm: tuple[float, float] = (5.0, 6.0)  # slice spacing of thick series at sites A, B; thin is half
    n_workers: Annotated[int, Field(ge=1)] = 2  # processes; the bytes do not depend on it

    def count(self, cohort: Cohort) -> int:
        """Number of intact studies in a cohort."""
        return int(getattr(self, f"n_{cohort}"))


SITE_OF: dict[Cohort, str] = {
    "development": "A",
    "internal_test": "A",
    "external_test": "B",
    "prospective_a": "A",
    "prospective_b": "B",
}
FIRST_DAY: dict[Cohort, dt.date] = {
    "development": dt.date(2018, 1, 8),
    "internal_test": dt.date(2018, 1, 8),
    "external_test": dt.date(2019, 3, 4),
    "prospective_a": dt.date(2022, 2, 7),
    "prospective_b": dt.date(2022, 2, 7),
}
# What is wrong with a broken study, and what a converter has to make of it.
BROKEN: dict[str, str] = {
    "missing_slice": "refused",
    "localizer_only": "refused",
    "contrast_only": "refused",
    "truncated_file": "refused",
    "matrix_varies": "refused",
    "no_rescale": "refused",
    "mr_modality": "refused",
    "junk_files": "converted",
    "empty_file": "converted",
}
# Share of studies with the finding; cardiomegaly follows from the heart instead.
PREVALENCE: dict[str, float] = {
    "medical_material": 0.34,
    "arterial_wall_calcification": 0.38,
    "pericardial_effusion": 0.30,
    "coronary_artery_wall_calcification": 0.36,
    "hiatal_hernia": 0.30,
    "lymphadenopathy": 0.32,
    "emphysema": 0.34,
    "atelectasis": 0.35,
    "lung_nodule": 0.38,
    "lung_opacity": 0.35,
    "pulmonary_fibrotic_sequela": 0.33,
    "pleural_effusion": 0.33,
    "mosaic_attenuation_pattern": 0.30,
    "peribronchial_thickening": 0.32,
    "consolidation": 0.32,
    "bronchiectasis": 0.30,
    "interlobular_septal_thickening": 0.30,
}
FINDINGS = (*PREVALENCE, "cardiomegaly")
HEART_SCORES = ("left_ventricle", "left_atrium", "pressure", "right_ventricle", "wall", "heart_size")
SCORES = (*PREVALENCE, *HEART_SCORES)
CAUSES = ("age", "heart_failure", "infection", "smoking")
# Loading of each score on (age, heart failure, infection, smoking); what is left is the score's own chance.
LOADINGS: dict[str, tuple[float, float, float, float]] = {
    "medical_material": (0.25, 0.25, 0.0, 0.0),
    "arterial_wall_calcification": (0.60, 0.0, 0.0, 0.20),
    "pericardial_effusion": (0.0, 0.25, 0.10, 0.0),
    "coronary_artery_wall_calcification": (0.55, 0.10, 0.0, 0.25),
    "hiatal_hernia": (0.35, 0.0, 0.0, 0.0),
    "lymphadenopathy": (0.0, 0.0, 0.30, 0.20),
    "emphysema": (0.30, 0.0, 0.0, 0.60),
    "atelectasis": (0.10, 0.30, 0.30, 0.0),
    "lung_nodule": (0.20, 0.0, 0.0, 0.30),
    "lung_opacity": (0.0, 0.20, 0.50, 0.0),
    "pulmonary_fibrotic_sequela": (0.30, 0.0, 0.0, 0.20),
    "pleural_effusion": (0.10, 0.50, 0.35, 0.0),
    "mosaic_attenuation_pattern": (0.0, 0.15, 0.0, 0.25),
    "peribronchial_thickening": (0.0, 0.0, 0.25, 0.35),
    "consolidation": (0.0, 0.0, 0.60, 0.0),
    "bronchiectasis": (0.10, 0.0, 0.15, 0.15),
    "interlobular_septal_thickening": (0.0, 0.45, 0.10, 0.0),
    "left_ventricle": (0.0, 0.50, 0.0, 0.0),
    "left_atrium": (0.20, 0.65, 0.0, 0.0),
    "pressure": (0.08, 0.62, 0.0, 0.15),
    "right_ventricle": (0.0, 0.25, 0.0, 0.10),
    "wall": (0.25, 0.0, 0.0, 0.0),
    "heart_size": (0.0, 0.30, 0.0, 0.0),
}
RETURN_DAYS = 1000  # between the earliest dates of two studies: their echo exams stay apart
SAME_PATIENT = 0.85  # correlation of the scores of a patient's two studies


@plain_dataclass(frozen=True)
class Study:
    """One planned study: identity, cohort and latent scores. All ids are invented."""

    index: int
    patient_index: int
    patient_id: str
    accession_number: str
    cohort: Cohort
    site: str
    split: str  # official split, "" where the project decides
    sex: str
    age_years: int
    date: dt.date
    broken: str  # key of BROKEN, "" for an intact study
    labelled: bool
    scores: dict[str, float]  # standard normal within the cohort

    def severity(self, finding: str) -> float:
        """0 without the finding; otherwise 0.35 (slight) to 1 (gross), by how far the score is above the cut."""
        cut = float(ndtri(1 - PREVALENCE[finding]))
        excess = self.scores[finding] - cut
        return 0.0 if excess <= 0 else float(0.35 + 0.65 * (1 - np.exp(-1.4 * excess)))


def plan_studies(config: PhantomConfig) -> list[Study]:
    """All studies of the archive in a fixed order; broken ones come last in their cohort."""
    generator = np.random.default_rng([config.seed, 0])
    total = sum(config.count(c) for c in SITE_OF) + config.n_broken
    numbers = iter(generator.permutation(total + 20) + 1)  # ids say nothing about the cohort
    broken = _share_out_broken(config)
    studies: list[Study] = []
    for cohort in SITE_OF:
        kinds = [""] * config.count(cohort) + broken[cohort]
        owner = _owners(len(kinds), config.share_repeat, generator)
        scores, ages = _scores(owner, generator)
        people = [_person(cohort, int(next(numbers)), generator) for _ in range(int(owner.max(initial=-1)) + 1)]
        first_patient = studies[-1].patient_index + 1 if studies else 0
        for row, kind in enumerate(kinds):
            person, split, sex = people[owner[row]]
            second = bool((owner[:row] == owner[row]).any())
            day = FIRST_DAY[cohort] + dt.timedelta(days=int(generator.integers(0, 420)) + RETURN_DAYS * second)
            studies.append(
                Study(
                    index=len(studies),
                    patient_index=first_patient + int(owner[row]),
                    patient_id=person,
                    accession_number=f"{person}_{'b' if second else 'a'}",
                    cohort=cohort,
                    site=SITE_OF[cohort],
                    split=split,
                    sex=sex,
                    age_years=int(ages[row]) + round(RETURN_DAYS / 365) * second,
                    date=day,
                    broken=kind,
                    labelled=not (cohort == "development" and kind == "" and row < config.n_unlabelled),
                    scores=dict(zip(SCORES, map(float, scores[row]), strict=True)),
                )
            )
    return studies


def _share_out_broken(config: PhantomConfig) -> dict[Cohort, list[str]]:
    cohorts: list[Cohort] = [c for c in SITE_OF if config.count(c)] or ["development"]
    kinds = list(BROKEN)
    shared: dict[Cohort, list[str]] = {c: [] for c in SITE_OF}
    for number in range(config.n_broken):
        shared[cohorts[number % len(cohorts)]].append(kinds[number % len(kinds)])
    return shared


def _owners(n_studies: int, share_repeat: float, generator: np.random.Generator) -> NDArray[np.int64]:
    """Patient number within the cohort for each study, ascending; some patients have two studies."""
    n_repeats = min(round(share_repeat * n_studies), n_studies // 2)
    n_patients = n_studies - n_repeats
    twice = generator.permutation(n_patients)[:n_repeats]
    return np.sort(np.concatenate([np.arange(n_patients), twice])).astype(np.int64)


def _person(cohort: Cohort, number: int, generator: np.random.Generator) -> tuple[str, str, str]:
    """PatientID, official split and sex."""
    sex = "M" if generator.random() < 0.5 else "F"
    if cohort != "development":
        return f"train_{number}", "test", sex
    chance = generator.random()
    if chance < 0.1:
        return f"valid_{number}", "validation", sex
    return f"train_{number}", "train" if chance < 0.3 else "", sex


def _scores(
    owner: NDArray[np.int64], generator: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Stratified standard-normal scores (studies, SCORES) and ages in years (studies,) of one cohort."""
    n_patients = int(owner.max(initial=-1)) + 1
    loadings = np.array([LOADINGS[name] for name in SCORES])  # (scores, causes)
    own = np.sqrt(1 - (loadings**2).sum(axis=1))
    causes = generator.standard_normal((n_patients, len(CAUSES)))
    causes[:, 0] = _stratify(causes[:, :1], generator)[:, 0]
    lasting = causes @ loadings.T + own * generator.standard_normal((n_patients, len(SCORES)))
    passing = generator.standard_normal((owner.size, len(SCORES)))
    raw = np.sqrt(SAME_PATIENT) * lasting[owner] + np.sqrt(1 - SAME_PATIENT) * passing
    ages = np.clip(np.round(61 + 13 * causes[:, 0]), 22, 94)
    return _stratify(raw, generator), ages[owner]


def _stratify(raw: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.float64]:
    """Each column's ranks put back on the normal distribution, one value per stratum."""
    n = len(raw)
    if n == 0:
        return raw
    ranks = raw.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable")
    return np.asarray(ndtri((ranks + generator.uniform(0.02, 0.98, raw.shape)) / n))
