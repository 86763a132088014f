"""No label can be read from who the patient is or where the scan was made: only from the anatomy it stands for."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hyperct_pipeline.phantom.chest import Anatomy, draw_anatomy
from hyperct_pipeline.phantom.cohort import FINDINGS, SITE_OF, PhantomConfig, Study, plan_studies

CONFIG = PhantomConfig(
    n_development=2000, n_internal_test=250, n_external_test=250, n_prospective_a=250, n_prospective_b=250, n_broken=0
)
TASKS = (
    *FINDINGS,
    "reduced_rv_systolic_function",
    "reduced_lv_systolic_function",
    "pulmonary_hypertension",
    "atrial_chamber_enlargement",
    "ventricular_enlargement",
    "left_atrial_filling_pressure",
    "right_atrial_filling_pressure",
)
# Diseases of age in life: to make them independent of it would be the artefact. No task has any other exception.
DISEASES_OF_AGE = {
    "arterial_wall_calcification": "atherosclerosis builds up over decades",
    "coronary_artery_wall_calcification": "likewise",
    "hiatal_hernia": "the hiatus slackens",
    "emphysema": "years of smoking add up",
    "pulmonary_fibrotic_sequela": "every past infection leaves its scar",
    "lung_nodule": "granulomas and years of smoking leave them",
    "medical_material": "devices and wires stay once they are in",
    "atrial_chamber_enlargement": "the left ventricle stiffens, and the atrium before it grows",
}


@pytest.fixture(scope="module")
def archive() -> tuple[pd.DataFrame, pd.DataFrame]:
    """What is known of 3,000 studies without seeing heart or lungs, and their labels."""
    plan = plan_studies(CONFIG)
    anatomies = [draw_anatomy(study, CONFIG.seed) for study in plan]
    known = pd.DataFrame([_known(s, a) for s, a in zip(plan, anatomies, strict=True)])
    labels = pd.DataFrame([a.labels(s.sex) for s, a in zip(plan, anatomies, strict=True)])
    return known, labels


def _known(study: Study, anatomy: Anatomy) -> dict[str, float | str]:
    h = anatomy.habitus
    place: dict[str, float | str] = {cohort: float(study.cohort == cohort) for cohort in SITE_OF}
    return place | {
        "patient": study.patient_id,
        "site": float(study.site == "B"),
        "male": float(study.sex == "M"),
        "age_years": study.age_years,
        "chest_width_mm": h.chest_half_width_mm,
        "chest_depth_mm": h.chest_half_depth_mm,
        "lung_height_mm": h.lung_height_mm,
        "body_width_mm": h.body_width_mm,
        "body_depth_mm": h.chest_half_depth_mm + h.muscle_mm + h.fat_mm,
        "field_of_view_mm": float(np.clip(h.body_width_mm + 24, *CONFIG.field_of_view_mm)),  # 14 to 34 mm of air
        "body_surface_m2": h.bsa_m2,
        "fat_mm": h.fat_mm,
        "muscle_mm": h.muscle_mm,
        "breast_mm": h.breast_mm,
    }


@pytest.mark.parametrize("task", TASKS)
def test_nothing_but_anatomy_predicts_a_label(archive: tuple[pd.DataFrame, pd.DataFrame], task: str) -> None:
    known, labels = archive
    for name in known.columns.drop(["patient", "age_years"]):
        assert abs(roc_auc_score(labels[task], known[name]) - 0.5) < 0.08, name


@pytest.mark.parametrize("task", TASKS)
def test_sex_build_and_place_together_predict_no_label(archive: tuple[pd.DataFrame, pd.DataFrame], task: str) -> None:
    known, labels = archive
    model = make_pipeline(StandardScaler(), LogisticRegression())
    score = cross_val_predict(
        model,
        known.drop(columns=["patient", "age_years"]).astype(float),
        labels[task],
        groups=known["patient"],
        cv=GroupKFold(5),
        method="predict_proba",
    )
    assert roc_auc_score(labels[task], score[:, 1]) < 0.62


@pytest.mark.parametrize("task", TASKS)
def test_age_predicts_diseases_of_age_only(archive: tuple[pd.DataFrame, pd.DataFrame], task: str) -> None:
    known, labels = archive
    auroc = roc_auc_score(labels[task], known["age_years"])
    if task in DISEASES_OF_AGE:
        assert auroc > 0.55
    else:
        assert abs(auroc - 0.5) < 0.08


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_both_classes_in_both_sexes(archive: tuple[pd.DataFrame, pd.DataFrame], task: str) -> None:
    known, labels = archive
    by_sex = labels[task].groupby(known["male"]).mean()
    assert by_sex.between(0.15, 0.55).all()
    assert abs(by_sex[0.0] - by_sex[1.0]) < 0.06
