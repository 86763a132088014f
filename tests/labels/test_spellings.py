"""The entry point on what hospitals write: each case is one table, one task, and the label that must come out."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from hyperct_pipeline.errors import LabelTableError
from hyperct_pipeline.labels import harmonize
from hyperct_pipeline.labels.sources import LabelSourcesConfig
from hyperct_pipeline.labels.tasks import TaskCatalogue

LV, PH, LA = "reduced_lv_systolic_function", "pulmonary_hypertension", "atrial_chamber_enlargement"
VE, LP, RP = "ventricular_enlargement", "left_atrial_filling_pressure", "right_atrial_filling_pressure"
RV, WIDE, LONG, RAD = "reduced_rv_systolic_function", "hyperct_wide", "mimic_echo_long", "rad_chestct"
Rows = dict[str, Any] | list[dict[str, Any]]


def labels(
    source: str, rows: Rows, task: str, catalogue: TaskCatalogue, sources: LabelSourcesConfig
) -> list[tuple[int | None, str]]:
    table = pd.DataFrame(rows if isinstance(rows, list) else [rows])
    found = harmonize(source, {source: table}, catalogue, sources)
    found = found[found["task"] == task]
    return [(None if pd.isna(v) else int(v), str(r)) for v, r in zip(found["label"], found["reason"], strict=True)]


@pytest.mark.parametrize(
    ("text", "label", "reason"),
    [
        ("55-60%", 0, "measured"), (">60", 0, "measured"), (">45", None, "range_straddles"), ("<50", 1, "measured"),
        ("<=50", None, "range_straddles"), (">=50", 0, "measured"), ("~45", 1, "measured"),
        ("~50", None, "range_straddles"), ("45–49", 1, "measured"), ("50 – 55 %", 0, "measured"),
        (49.94, 1, "measured"), (49.96, 0, "measured"), ("4.5E1", 1, "measured"), ("45 ± 4", 1, "measured"),
        ("50 ± 5", None, "range_straddles"), ("mildly reduced (45-55%)", None, "range_straddles"),
        ("55 (45-65)", None, "unmapped_text"), ("45,5", None, "unmapped_text"), ("5O", None, "unmapped_text"),
        ("#REF!", None, "unmapped_text"), ("inf", None, "unmapped_text"), ("45%\x00", None, "unmapped_text"),
        ("45²", None, "unmapped_text"), ("45%?", None, "unmapped_text"), ("=45", None, "unmapped_text"),
        (True, None, "unmapped_text"), ("60/40", None, "unmapped_text"), ("45 mm", None, "unmapped_text"),
        ("0.45", None, "out_of_range"), ("450", None, "out_of_range"), ("-45", None, "out_of_range"),
        ("1.23457E+12", None, "out_of_range"), ("\ufeff45", 1, "measured"), (None, None, "not_measured"),
        ("Unable to measure", None, "not_measured"), (-1, None, "not_measured"), (999.0, None, "not_measured"),
    ],
)  # fmt: skip
def test_ejection_fraction_as_written(
    text: Any, label: int | None, reason: str, catalogue: TaskCatalogue, sources: LabelSourcesConfig
) -> None:
    assert labels(WIDE, {"ECHO_lvef_value": text}, LV, catalogue, sources) == [(label, reason)]


@pytest.mark.parametrize(
    ("source", "row", "task", "label", "reason"),
    [
        (WIDE, {"ECHO_pasp_value": 35.04}, PH, 0, "measured"),
        (WIDE, {"ECHO_pasp_value": ">35"}, PH, 1, "measured"),
        (WIDE, {"ECHO_pasp_value": ">=35"}, PH, None, "range_straddles"),
        (WIDE, {"ECHO_lvef_value": 45, "lvef_value": 60}, LV, None, "alias_conflict"),
        (WIDE, {"ECHO_lvef_value": "see", "lvef_value": 45}, LV, 1, "measured"),
        (WIDE, {"ECHO_e_a_ratio": 0.9}, LP, None, "not_available_in_source"),
        (WIDE, {"ECHO_lv_d_measurement": ">52.96 mm", "sex": "F"}, VE, None, "range_straddles"),
        ("echo_metric", {"lvidd_mm": 53, "sex_code": 2}, VE, 0, "measured"),
        ("echo_metric", {"lvidd_mm": 53.1, "sex_code": 2.0}, VE, 1, "measured"),
        ("echo_metric", {"lvidd_mm": "5.4 cm", "sex_code": 2}, VE, 1, "measured"),
        ("echo_metric", {"lvidd_mm": 5.4, "sex_code": 2}, VE, None, "out_of_range"),
        ("echo_metric", {"lvidd_mm": 56, "sex_code": None}, VE, None, "not_measured"),
        ("echo_metric", {"lvidd_mm": 60, "sex_code": None}, VE, 1, "measured"),
        ("echo_metric", {"tr_vmax_cm_s": 280, "e_a": 1, "lavi_ml_m2": 30}, LP, 0, "measured"),
        ("echo_metric", {"tr_vmax_cm_s": 340}, RP, 0, "measured"),
        ("echo_metric", {"tr_vmax_cm_s": 341}, RP, 1, "measured"),
        ("echo_fraction", {"lvef_fraction": 0.5}, LV, 0, "measured"),
        ("echo_fraction", {"lvef_fraction": "45%"}, LV, 1, "measured"),
        ("echo_fraction", {"lvef_fraction": 45}, LV, None, "out_of_range"),
        ("echonext", {"lv_d_measurement": 5.5, "sex": 0}, VE, 1, "measured"),
        ("echonext", {"lv_d_measurement": 5.5, "sex": 1.0}, VE, 0, "measured"),
        ("echonext", {"pasp_value": None, "pasp_gte_45_flag": 0}, PH, None, "not_measured"),
        ("echonext", {"lvef_value": 45, "tr_max_gte_32_flag": 1}, RP, None, "not_available_in_source"),
        ("merlin", {"cardiomegaly": -1.0}, "cardiomegaly", None, "not_measured"),
        ("merlin", {"cardiomegaly": "yes"}, "cardiomegaly", None, "unmapped_text"),
        (RAD, {"nodule*breast": 1}, "lung_nodule", 0, "finding"),
        (RAD, {"calcification*heart": 1}, "arterial_wall_calcification", 0, "finding"),
        ("rad_chestct_any_location", {"calcification*heart": 1}, "arterial_wall_calcification", 1, "finding"),
        (RAD, {"air_trapping*lung": 1}, "mosaic_attenuation_pattern", None, "not_available_in_source"),
        (RAD, {"groundglass*lung": 2}, "lung_opacity", None, "unmapped_text"),
        (RAD, {"groundglass*lung": "", "opacity*lung": 0}, "lung_opacity", None, "not_measured"),
        (RAD, {"groundglass*lung": 2, "opacity*lung": 1}, "lung_opacity", 1, "finding"),
        ("ct_rate_manual", {"Lung nodule": 1}, "lung_nodule", 1, "finding"),
    ],
)  # fmt: skip
def test_each_source(
    source: str, row: dict[str, Any], task: str, label: int | None, reason: str,
    catalogue: TaskCatalogue, sources: LabelSourcesConfig,
) -> None:  # fmt: skip
    assert labels(source, row, task, catalogue, sources) == [(label, reason)]


@pytest.mark.parametrize(
    ("value", "label", "reason"),
    [
        (1, 1, "finding"), (0.0, 0, "finding"), (True, 1, "finding"), ("yes", 1, "finding"), (2, None, "unmapped_text"),
        (0.5, None, "unmapped_text"), (np.inf, None, "unmapped_text"), ("1\x00", None, "unmapped_text"),
        ("#N/A", None, "unmapped_text"), ("positive", None, "unmapped_text"), (None, None, "not_measured"),
    ],
)  # fmt: skip
def test_label_cells(
    value: Any, label: int | None, reason: str, catalogue: TaskCatalogue, sources: LabelSourcesConfig
) -> None:
    row = {"VolumeName": "train_1_a_1.nii.gz", "Lung nodule": value}
    assert labels("ct_rate", row, "lung_nodule", catalogue, sources) == [(label, reason)]


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        ({"PatientAge": "017Y"}, "excluded"), ({"PatientAge": "018Y"}, "finding"), ({"PatientAge": "11M"}, "excluded"),
        ({"PatientAge": ""}, "finding"), ({"age_years": "abc"}, "finding"), ({"contrast": "Yes"}, "excluded"),
        ({"contrast": "0"}, "finding"), ({"no_chest": 1}, "excluded"),
    ],
)  # fmt: skip
def test_columns_that_rule_a_study_out(
    extra: dict[str, Any], reason: str, catalogue: TaskCatalogue, sources: LabelSourcesConfig
) -> None:
    row = {"VolumeName": "train_1_a_1.nii.gz", "Lung nodule": 1} | extra
    assert labels("ct_rate", row, "lung_nodule", catalogue, sources)[0][1] == reason


def measured(*pairs: tuple[str, Any], **ids: Any) -> list[dict[str, Any]]:
    return [{"measurement": name, "result": result, "test_type": "tte"} | ids for name, result in pairs]


@pytest.mark.parametrize(
    ("rows", "task", "expected"),
    [
        (measured(("lvef", "45"), ("lvef_upper", "49")), LV, [(1, "measured")]),
        (measured(("lvef", "45"), ("lvef_upper", "50")), LV, [(None, "range_straddles")]),
        (measured(("lvef", "45")), LV, [(1, "measured")]),
        (measured(("biplane_lvef", "45"), ("lvef_3d", "55")), LV, [(None, "alias_conflict")]),
        (measured(("lvef", "55"), ("lvef", "40")), LV, [(None, "source_conflict")]),
        (measured(("tr_velocity", "350"), unit="cm/s"), RP, [(1, "measured")]),
        (measured(("tr_velocity", 3.5), unit=None), RP, [(1, "measured")]),
        (measured(("la_size_text", "Normal LAVI (<34ml/m2)")), LA, [(0, "measured")]),
        (measured(("la_size_text", "Mild LAVI (34-41ml/m2)")), LA, [(None, "range_straddles")]),
        (measured(("la_size_text", "Severe LAVI(>48ml/m2)")), LA, [(1, "measured")]),
        (measured(("la_size_text", "Dilated - no qualifier")), LA, [(None, "not_measured")]),
        (measured(("rv_function", "normal"), test_type="stress"), RV, [(None, "excluded")]),
        (
            measured(("rv_function", "Severe global hypo"), subject_id=1, measurement_id=7)
            + measured(("rv_function", "normal"), subject_id=1, measurement_id=8),
            RV,
            [(1, "measured"), (0, "measured")],
        ),
    ],
)
def test_one_row_per_measurement(
    rows: Rows, task: str, expected: list, catalogue: TaskCatalogue, sources: LabelSourcesConfig
) -> None:
    assert labels(LONG, rows, task, catalogue, sources) == expected


def test_rows_of_one_patient_and_day_are_one_examination(catalogue: TaskCatalogue, sources: LabelSourcesConfig) -> None:
    def both(first: Any, second: Any) -> list[tuple[int | None, str]]:
        one = {"patient_id": "A", "echo_date": "2023-01-01"}
        rows = [one | {"ECHO_lvef_value": value} for value in (first, second)]
        return labels(WIDE, rows, LV, catalogue, sources)

    assert both(40, 40) == [(1, "measured")]
    assert both(40, 60) == [(None, "source_conflict")]
    assert both(40, 30) == [(1, "measured")]
    assert both("", 30) == [(1, "measured")]


def test_a_narrower_text_never_flips_a_known_label(catalogue: TaskCatalogue, sources: LabelSourcesConfig) -> None:
    """Read through the whole entry point: what people type, in several units, and a refinement of it."""
    generator = np.random.default_rng(1)
    n = 3000
    ends = np.sort(generator.uniform(0.4, 6.5, (n, 4)), axis=1).round(4)
    forms = ["{0}-{3} m/s", ">{0} m/s", "<{3} m/s", ">={0}", "<= {3}", "{0} to {3}"]
    chosen = generator.integers(0, len(forms), n)
    wide = [forms[k].format(*row) for k, row in zip(chosen, ends, strict=True)]
    narrow = [f"{100 * row[1]:.2f}-{100 * row[2]:.2f} cm/s" for row in ends]
    both = []
    for texts in (wide, narrow):
        table = pd.DataFrame({"tr_max_velocity_value": texts})
        found = harmonize("echonext", {"echonext": table}, catalogue, sources)
        both.append(found[found["task"] == RP]["label"].reset_index(drop=True))
    known = both[0].notna()
    assert 200 < known.sum() < n
    kept = known & both[1].notna()
    assert (both[0][kept] == both[1][kept]).all()
    # a text inside a decided one is decided, unless it is implausible
    lost = known & both[1].isna()
    assert all(min(ends[k]) < 0.5 for k in np.flatnonzero(lost))


@pytest.mark.parametrize(
    ("measurement", "result", "unit", "task", "label", "reason"),
    [
        ("la_size_text", "about 40", "mL", "atrial_chamber_enlargement", None, "unmapped_text"),
        ("tr_velocity", "3.5 (peak)", "cm/s", "right_atrial_filling_pressure", None, "out_of_range"),
        ("tr_velocity", "360 to 380", "cm/s", "right_atrial_filling_pressure", 1, "measured"),
        ("tr_velocity", "3.5e2", "cm/s", "right_atrial_filling_pressure", 1, "measured"),
        ("tr_velocity", "3.5 m/s", "cm/s", "right_atrial_filling_pressure", 1, "measured"),
        ("tr_velocity", "999", "m/s", "right_atrial_filling_pressure", None, "not_measured"),
        ("tr_velocity", "3.5", "mmHg", "right_atrial_filling_pressure", None, "unmapped_text"),
        ("tr_velocity", "3.5", "nan", "right_atrial_filling_pressure", 1, "measured"),
        ("tr_velocity", "3.5", " ", "right_atrial_filling_pressure", 1, "measured"),
        ("mv_peak_e_a", "2", "ratio", "left_atrial_filling_pressure", 1, "measured"),
        ("mv_peak_e_a", "2", "1", "left_atrial_filling_pressure", 1, "measured"),
    ],
)
def test_a_number_takes_the_unit_of_its_row(
    measurement: str, result: str, unit: str, task: str, label: int | None, reason: str,
    catalogue: TaskCatalogue, sources: LabelSourcesConfig,
) -> None:  # fmt: skip
    table = pd.DataFrame([{"measurement": measurement, "result": result, "unit": unit}])
    found = harmonize("mimic_echo_long", {"t": table}, catalogue, sources).set_index("task").loc[task]
    assert (None if pd.isna(found["label"]) else int(found["label"]), found["reason"]) == (label, reason)


def test_a_renamed_column_of_units_is_an_error(catalogue: TaskCatalogue, sources: LabelSourcesConfig) -> None:
    table = pd.DataFrame([{"measurement": "la_size_text", "result": "40", "Unit": "mL"}])
    with pytest.raises(LabelTableError, match="no column 'unit'; nearest: 'Unit'"):
        harmonize("mimic_echo_long", {"t": table}, catalogue, sources)
