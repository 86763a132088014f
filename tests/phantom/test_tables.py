import datetime as dt
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from hyperct_pipeline.phantom.acquisition import Acquired
from hyperct_pipeline.phantom.chest import draw_anatomy
from hyperct_pipeline.phantom.cohort import Study
from hyperct_pipeline.phantom.scanner import SCANNERS
from hyperct_pipeline.phantom.tables import (
    CT_RATE_COLUMNS,
    cohort_table,
    ct_rate_table,
    echo_exams,
    echo_metric_table,
    hyperct_wide_table,
)
from hyperct_pipeline.phantom.truth import truth_table

SEED = 2026


@dataclass(frozen=True)
class Tables:
    truth: pd.DataFrame
    ct_rate: pd.DataFrame
    wide: pd.DataFrame
    metric: pd.DataFrame
    cohorts: pd.DataFrame


@pytest.fixture(scope="module")
def tables(plan: list[Study]) -> Tables:
    """All tables of the default archive, without writing an image."""
    scanner = SCANNERS["force"]
    acquired = [
        Acquired(s, draw_anatomy(s, SEED), scanner, f"2.25.{s.index}", 1, (), False, s.index % 3 == 0) for s in plan
    ]
    exams = echo_exams(acquired, SEED)
    return Tables(
        truth_table(acquired),
        ct_rate_table(acquired, SEED),
        hyperct_wide_table(exams, SEED),
        echo_metric_table(exams, SEED),
        cohort_table(plan, SEED),
    )


def test_findings_given_are_the_true_ones(tables: Tables) -> None:
    truth = tables.truth.set_index("accession_number")
    accession = tables.ct_rate["VolumeName"].str.extract(r"^((?:train|valid)_\d+_[a-z])_\d+\.nii\.gz$")[0]
    assert accession.notna().all()
    for column, task in CT_RATE_COLUMNS.items():
        given = tables.ct_rate[column]
        known = given != ""
        assert (given[known].astype(int).to_numpy() == truth.loc[accession[known], task].to_numpy()).all()
    assert list(tables.ct_rate.columns) == ["VolumeName", *CT_RATE_COLUMNS]
    assert 0.01 < (tables.ct_rate == "").to_numpy().mean() < 0.08


def test_unlabelled_studies_are_in_no_table(tables: Tables) -> None:
    hidden = tables.truth.loc[tables.truth["labelled"] == 0, "accession_number"]
    assert len(hidden) == 4
    assert not tables.ct_rate["VolumeName"].str.rsplit("_", n=1).str[0].isin(hidden).any()


def test_one_task_is_nearly_unknown_and_one_has_one_class(tables: Tables) -> None:
    cohort = tables.truth.set_index("accession_number")["cohort"]
    row_cohort = tables.ct_rate["VolumeName"].str.rsplit("_", n=1).str[0].map(cohort)
    mosaic = tables.ct_rate.loc[row_cohort == "external_test", "Mosaic attenuation pattern"]
    assert (mosaic == "").mean() > 0.8
    hernia = tables.ct_rate.loc[row_cohort == "prospective_a", "Hiatal hernia"]
    assert set(hernia) == {"", "0"}


def test_one_task_is_wholly_unknown_in_one_test_cohort(tables: Tables) -> None:
    cohort = tables.truth.set_index("accession_number")["cohort"]
    row_cohort = tables.ct_rate["VolumeName"].str.rsplit("_", n=1).str[0].map(cohort)
    known = (tables.ct_rate[list(CT_RATE_COLUMNS)] != "").groupby(row_cohort).sum().stack()
    assert known[known == 0].index.tolist() == [("prospective_b", "Peribronchial thickening")]
    assert known["external_test", "Mosaic attenuation pattern"] > 0


def test_most_tasks_have_ten_known_positives_in_each_test_cohort(tables: Tables) -> None:
    first = tables.ct_rate.drop_duplicates("VolumeName")
    first = first[first["VolumeName"].str.endswith("_1.nii.gz")]
    cohort = tables.truth.set_index("accession_number")["cohort"]
    row_cohort = first["VolumeName"].str.rsplit("_", n=1).str[0].map(cohort)
    positives = (first[list(CT_RATE_COLUMNS)] == "1").groupby(row_cohort).sum().drop("development")
    assert (positives >= 10).to_numpy().mean() > 0.9


def nearest_resting(table: pd.DataFrame, study: pd.Series) -> pd.Series | None:
    mine = table[(table["patient_id"] == study["patient_id"]) & (table["test_type"] == "tte")]
    gaps = (pd.to_datetime(mine["echo_date"]) - pd.Timestamp(study["study_date"])).dt.days.abs()
    return mine.loc[gaps.idxmin()] if len(gaps) and gaps.min() <= 180 else None


# column of the export -> (column of the truth, factor from its unit to the export's)
UNITS_A = {
    "ECHO_la_volume_index_value": ("echo_la_volume_index_ml_m2", 1),
    "ECHO_lv_d_measurement": ("echo_lvidd_cm", 1),
    "ECHO_e_a_ratio": ("echo_e_a_ratio", 1),
}
UNITS_B = {
    "lvef_pct": ("echo_lvef_percent", 1),
    "pasp_mmhg": ("echo_pasp_mmhg", 1),
    "tr_vmax_cm_s": ("echo_tr_vmax_m_s", 100),
    "lvidd_mm": ("echo_lvidd_cm", 10),
    "lavi_ml_m2": ("echo_la_volume_index_ml_m2", 1),
    "e_a": ("echo_e_a_ratio", 1),
}
CARDIAC = [
    "reduced_rv_systolic_function",
    "reduced_lv_systolic_function",
    "pulmonary_hypertension",
    "atrial_chamber_enlargement",
    "ventricular_enlargement",
    "left_atrial_filling_pressure",
    "right_atrial_filling_pressure",
]


def test_the_nearest_resting_echo_is_the_true_one_in_the_units_of_its_site(tables: Tables) -> None:
    seen = 0
    for _, study in tables.truth.iterrows():
        table, units = (tables.wide, UNITS_A) if study["site"] == "A" else (tables.metric, UNITS_B)
        exam = nearest_resting(table, study)
        if exam is None:
            continue
        for column, (name, factor) in units.items():
            value = pd.to_numeric(exam[column], errors="coerce")
            if pd.notna(value) and value != 999:
                assert value == pytest.approx(study[name] * factor, abs=0.051), column
                seen += 1
    assert seen > 800


def test_echo_coverage_leaves_ten_positives_for_most_cardiac_tasks(tables: Tables) -> None:
    truth = tables.truth[tables.truth["broken"] == ""]
    covered = truth[
        [
            nearest_resting(tables.wide if s["site"] == "A" else tables.metric, s) is not None
            for _, s in truth.iterrows()
        ]
    ]
    assert 0.8 < len(covered) / len(truth) < 0.97
    positives = covered.groupby("cohort")[CARDIAC].sum().drop("development")
    assert (positives >= 10).to_numpy().mean() > 0.6
    assert positives.to_numpy().min() >= 5


def test_site_a_types_as_people_do(tables: Tables) -> None:
    lvef = tables.wide["ECHO_lvef_value"]
    for pattern in (
        r"^\d+-\d+%$",
        r"^>60$",
        r"^~\d+$",
        r"reduced \(\d+%\)$",
        r"^\d+%$",
        r"^\d+$",
        r"^$",
        r"^not measured$",
    ):
        assert lvef.str.contains(pattern, regex=True).any(), pattern
    assert tables.wide["ECHO_tr_max_velocity_value"].str.contains(" m/s").any()
    cells = tables.wide.to_numpy().ravel()
    assert "999" in cells
    assert {"stress", "tee", "tte"} == set(tables.wide["test_type"]) | set(tables.metric["test_type"])
    assert set(tables.metric["sex_code"]) == {"1", "2"}


def test_some_exams_lie_outside_the_window_and_some_patients_have_several(tables: Tables) -> None:
    exams = pd.concat([tables.wide, tables.metric])
    date = tables.truth.groupby("patient_id")["study_date"].agg(list)
    gaps = [
        min(abs((dt.date.fromisoformat(e) - dt.date.fromisoformat(d)).days) for d in date[p])
        for p, e in zip(exams["patient_id"], exams["echo_date"], strict=True)
    ]
    assert 0.02 < (np.array(gaps) > 180).mean() < 0.25
    assert exams["patient_id"].duplicated().mean() > 0.2


def test_cohorts_name_every_patient_once(tables: Tables, plan: list[Study]) -> None:
    assert list(tables.cohorts.columns) == ["id_type", "id", "site", "cohort", "split", "sex", "age_years"]
    assert sorted(tables.cohorts["id"]) == sorted({s.patient_id for s in plan})
    development = tables.cohorts[tables.cohorts["cohort"] == "development"]
    assert set(development["split"]) == {"", "train", "validation"}
    assert set(tables.cohorts.loc[tables.cohorts["cohort"] != "development", "split"]) == {"test"}
    assert (tables.cohorts["age_years"] == "").any()


@pytest.mark.parametrize("name", ["ct_rate", "wide", "metric", "cohorts"])
def test_every_cell_is_text(tables: Tables, name: str) -> None:
    table = getattr(tables, name)
    assert all(isinstance(cell, str) for cell in table.to_numpy().ravel())


def test_neither_site_nor_cohort_predicts_a_label(tables: Tables) -> None:
    truth = tables.truth[tables.truth["broken"] == ""]
    for task in [*CT_RATE_COLUMNS.values(), *CARDIAC]:
        by_site = truth.groupby("site")[task].mean()
        # AUROC of a binary predictor = 0.5 + half the difference of its rates; two such rates differ by this much
        assert abs(by_site["A"] - by_site["B"]) < 0.14, task
        assert truth.groupby("cohort")[task].mean().between(0.12, 0.62).all(), task


def test_the_truth_has_no_gap(tables: Tables) -> None:
    assert not tables.truth.isna().to_numpy().any()
    assert tables.truth["study_instance_uid"].is_unique
    assert set(tables.truth["expected_status"]) == {"converted", "refused"}
