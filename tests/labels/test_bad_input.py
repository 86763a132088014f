"""Bad input ends in a named error or a counted warning, never in a wrong label."""

import logging
from typing import Any

import pandas as pd
import pytest

from hyperct_pipeline.errors import HyperctError, LabelTableError, LeakageError
from hyperct_pipeline.labels import harmonize
from hyperct_pipeline.labels.sources import LabelSourcesConfig
from hyperct_pipeline.labels.tasks import TaskCatalogue

LV = "reduced_lv_systolic_function"
NODULE = {"VolumeName": "train_1_a_1", "Lung nodule": "1"}


@pytest.mark.parametrize(
    ("source", "table", "message"),
    [
        ("ct_rate", {"volumename": ["train_1_a_1"], "Lung nodule": [1]}, "no column 'VolumeName'; nearest"),
        ("ct_rate", {"VolumeName": ["x"], "Lung nodul": [1]}, "no column 'lung_nodule' .*nearest: 'Lung nodul'"),
        ("ct_rate", {"VolumeName": ["x"], "Lung nodule": [1], "Lung nodule.1": [0]}, "stand twice"),
        ("ct_rate", {"ECHO_lvef_value": [40]}, "but 1 of source 'hyperct_wide'.*labels.hyperct_wide"),
        ("rad_chestct", {"Lung nodule": [1]}, "none of its columns, but 1 of source 'ct_rate' or"),
        ("rad_chestct", {"nodul*lung": [1]}, r"no column 'nodule\*...'; nearest: 'nodul\*...'"),
        ("rad_chestct", {"a": [1]}, "no column of the form 'abnormality"),
        ("rad_chestct", {"nodules*lung": [1], "nodulegr1cm*lung": [0]}, r"'nodule\*...'.*nearest: 'nodules\*...'"),
        ("rad_chestct", {"calcifications*aorta": [1], "plaque*aorta": [0]}, r"nearest: 'calcifications\*...'"),
        ("rad_chestct", {"nodule*lungs": [1]}, r"no column '...\*lung'; nearest: '...\*lungs'"),
        ("rad_chestct", {"nodule*right upper": [1], "nodule*lung": [0]}, r"nearest: '...\*right upper'"),
        ("hyperct_wide", {"Test_Type": ["stress"], "ECHO_lvef_value": [40]}, "no column 'test_type'; nearest: 'Test_"),
        ("hyperct_wide", {"testtype": ["stress"], "ECHO_lvef_value": [40]}, "no column 'test_type'; nearest"),
        ("mimic_echo_long", {"measurement": ["lvef"], "result": [1], "test-type": ["tee"]}, "no column 'test_type'"),
        ("ct_rate", {"VolumeName": ["x"], "Emphysema": [1], "Contrast": ["yes"]}, "no column 'contrast'; nearest"),
        ("ct_rate", {"VolumeName": ["x"], "Emphysema": [1], "contrast_agents": ["yes"]}, "nearest: 'contrast_agents'"),
        ("ct_rate", {"VolumeName": ["x"], "Emphysema": [1], "Patient_Age": [9]}, "'PatientAge'; nearest: 'Patient_Age"),
        ("ct_rate", {"VolumeName": ["x"], "Emphysema": [1], "Age": [9]}, "no column 'age'; nearest: 'Age'"),
        ("hyperct_wide", {}, "is empty"),
        ("hyperct_wide", {"foo": [1]}, "none of the columns its source declares, e.g. 'ECHO_lvef_value'"),
        ("hyperct_wide", {"Patient_ID": ["a"], "ECHO_lvef_value": [40]}, "no column 'patient_id'; nearest"),
        ("mimic_echo_long", {"measurment": ["lvef"], "result": [1]}, "no column 'measurement'; nearest: 'measurment'"),
        ("mimic_echo_long", {"measurement": ["weight"], "result": [1]}, "none of its 1 rows is a measurement"),
        ("nowhere", {"a": [1]}, "Unknown label source 'nowhere'"),
    ],
)  # fmt: skip
def test_a_table_that_does_not_fit_its_source(
    source: str, table: dict[str, Any], message: str, catalogue: TaskCatalogue, sources: LabelSourcesConfig
) -> None:
    with pytest.raises(LabelTableError, match=message):
        harmonize(source, {source: pd.DataFrame(table)}, catalogue, sources)


def paired(ct_id: Any, echo_id: Any, catalogue: TaskCatalogue, sources: LabelSourcesConfig, **echo: Any) -> int | None:
    tables = {
        "ct": pd.DataFrame([{"patient_id": ct_id, "date": "2023-06-01"}]),
        "echo": pd.DataFrame(
            [{"patient_id": echo_id, "date": "2023-06-02", "test_type": "tte", "ECHO_lvef_value": 35} | echo]
        ),
    }
    found = harmonize("hyperct_wide", tables, catalogue, sources, {}).set_index("task")["label"][LV]
    return None if pd.isna(found) else int(found)


@pytest.mark.parametrize(
    ("ct_id", "echo_id", "label", "warning"),
    [
        ("A", " a ", 1, ""),
        (7, "7.0", 1, "1 id_written_as_decimal"),
        (1.23457e12, 1.23457e12, 1, "1 id_written_as_decimal"),
        ("1.23457E+12", "1.23457E+12", None, "1 id_cut_by_spreadsheet"),
        ("#REF!", "#REF!", None, "1 id_spreadsheet_error"),
        ("unknown", "unknown", None, "1 id_names_nobody"),
        ("", "", None, "1 id_blank"),
        ("007", "7", None, "2 ids differ from another one only by leading zeros or blanks"),
        ("A 1", "A1", None, "2 ids differ from another one only by leading zeros or blanks"),
    ],
)
def test_ids_that_name_nobody_or_only_look_alike(
    ct_id: Any, echo_id: Any, label: int | None, warning: str,
    catalogue: TaskCatalogue, sources: LabelSourcesConfig, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level(logging.WARNING)
    assert paired(ct_id, echo_id, catalogue, sources) == label
    assert warning in caplog.text
    assert bool(caplog.records) == bool(warning)


@pytest.mark.parametrize("date", ["2023-06-02 10:22:11", "2023-06-02T10:22", pd.Timestamp("2023-06-02 10:22")])
def test_a_time_of_day_does_not_hide_the_date(date: Any, catalogue: TaskCatalogue, sources: LabelSourcesConfig) -> None:
    assert paired("A", "A", catalogue, sources, date=date) == 1


def test_a_study_under_two_patients_is_leakage(catalogue: TaskCatalogue, sources: LabelSourcesConfig) -> None:
    echo = pd.DataFrame([{"patient_id": "A", "date": "2023-06-02", "ECHO_lvef_value": 35}])
    ct = pd.DataFrame({"patient_id": ["A", "B"], "date": "2023-06-01", "study_id": "s"})
    with pytest.raises(LeakageError, match="1 studies stand under two patients"):
        harmonize("hyperct_wide", {"ct": ct, "echo": echo}, catalogue, sources, {})
    long = pd.DataFrame({"subject_id": [1, 2], "measurement_id": 7, "measurement": "lvef", "result": 30})
    with pytest.raises(LeakageError, match="1 examinations stand under two patients"):
        harmonize("mimic_echo_long", {"mimic_echo_long": long}, catalogue, sources)
    table = pd.DataFrame({"NoteAcc_DEID": ["a"], "nodule*lung": [1]})
    patients = pd.DataFrame({"NoteAcc_DEID": ["a", "a"], "MRN_DEID": ["1", "2"]})
    with pytest.raises(LeakageError, match="'rad_chestct_metadata': 1 studies stand under two patients"):
        harmonize("rad_chestct", {"rad_chestct": table, "rad_chestct_metadata": patients}, catalogue, sources)


@pytest.mark.parametrize(
    ("rows", "labels", "warning"),
    [
        ([NODULE, NODULE], [1], ""),
        ([NODULE, NODULE | {"Lung nodule": "0"}], [None], "lung_nodule: 1 source_conflict"),
        ([NODULE, NODULE | {"VolumeName": "train_1_a_2"}], [1], ""),
        ([NODULE, NODULE | {"VolumeName": "valid_1_a_1", "Lung nodule": "0"}], [1, 0], ""),
        ([NODULE, NODULE | {"VolumeName": "1.2E+5"}], [1], "1 id_cut_by_spreadsheet"),
        ([NODULE | {"VolumeName": "brain_7"}], [], "1 id_of_another_form"),
        ([NODULE | {"Lung nodule": "2"}], [None], "lung_nodule: 1 unmapped_text"),
        (
            [NODULE, NODULE | {"VolumeName": "train_1_a_2", "Lung nodule": "inf"}],
            [None],
            "lung_nodule: 1 unmapped_text",
        ),
        ([NODULE, NODULE | {"VolumeName": "train_1_a_2", "Lung nodule": ""}], [1], ""),
        ([NODULE | {"contrast": "iv"}], [1], "contrast: 1 unmapped_text"),
        ([NODULE | {"contrast": "non-contrast"}], [1], ""),
    ],
)
def test_doubled_and_strange_rows(
    rows: list[dict[str, Any]], labels: list[int | None], warning: str,
    catalogue: TaskCatalogue, sources: LabelSourcesConfig, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level(logging.WARNING)
    found = harmonize("ct_rate", {"ct_rate": pd.DataFrame(rows)}, catalogue, sources)
    found = found[found["task"] == "lung_nodule"]["label"]
    assert [None if pd.isna(label) else int(label) for label in found] == labels
    assert warning in caplog.text


@pytest.mark.parametrize(
    ("source", "row", "warning"),
    [
        ("hyperct_wide", {"ECHO_lvef_value": 40}, "rows: 1 without_column_of_study_type"),
        ("rad_chestct", {"nodule*lung": 1, "pulmonary_vein*heart": 0}, "columns: 1 unknown_abnormality"),
        ("rad_chestct", {"nodule*lung": 1, "nodule*elbow": 1}, "columns: 1 unknown_location"),
    ],
)  # fmt: skip
def test_columns_that_are_missing_or_strange_are_warned_of(
    source: str, row: dict[str, Any], warning: str,
    catalogue: TaskCatalogue, sources: LabelSourcesConfig, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    harmonize(source, {source: pd.DataFrame([row])}, catalogue, sources)
    assert warning in caplog.text
    caplog.clear()
    known = {"rad_chestct": {"nodule*liver": 1, "bronchiolectasis*lung": 1}, "hyperct_wide": {"test_type": "TTE"}}
    harmonize(source, {source: pd.DataFrame([row | known[source]]).drop(columns=[
        c for c in row if c.endswith(("elbow", "vein*heart"))])}, catalogue, sources)  # fmt: skip
    assert not caplog.text


@pytest.mark.parametrize(
    ("source", "rows"),
    [
        ("hyperct_wide", [{"patient_id": p, "echo_date": "2023-06-01", "test_type": "tte", "ECHO_lvef_value": v}
                          for p, v in (("b", 60), ("", 40), ("a", 60), (None, 40))]),
        ("ct_rate", [NODULE | {"VolumeName": n, "Lung nodule": v}
                     for n, v in (("train_2_a_1", 0), ("", 1), ("train_1_a_1", 0), (None, 1))]),
        ("mimic_echo_long", [{"subject_id": p, "measurement_id": e, "measurement": "biplane_lvef", "result": v,
                              "measurement_datetime": "2023-06-01", "test_type": "tte"}
                             for p, e, v in zip(("b", "", "", "a", ""), "1213 ", (60, 40, 60, 60, 40), strict=True)]),
    ],
)  # fmt: skip
def test_a_row_without_id_is_a_study_of_its_own_in_its_place(
    source: str, rows: list[dict[str, Any]], catalogue: TaskCatalogue, sources: LabelSourcesConfig,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    found = harmonize(source, {source: pd.DataFrame(rows)}, catalogue, sources)
    found = found[found["task"] == ("lung_nodule" if source == "ct_rate" else LV)]
    assert found["study_key"].tolist() == ["1", "2", "3", "4"]
    assert found["label"].tolist() == [0, 1, 0, 1]
    assert "id_blank_taken_as_own_study" in caplog.text


def test_a_spoiled_exclusion_list_is_counted(
    catalogue: TaskCatalogue, sources: LabelSourcesConfig, caplog: pytest.LogCaptureFixture
) -> None:
    listed = pd.DataFrame({"VolumeName": ["train_1_a_1", "#REF!", "train_99_a_1"]})
    tables = {"ct_rate": pd.DataFrame([NODULE]), "ct_rate_no_chest": listed}
    found = harmonize("ct_rate", tables, catalogue, sources)
    assert set(found["reason"]) == {"excluded"}
    assert "ct_rate_no_chest: 1 id_unreadable" in caplog.text
    assert "ct_rate_no_chest: 1 ids_of_no_study" in caplog.text


def test_messages_show_no_cell_and_no_id(
    catalogue: TaskCatalogue, sources: LabelSourcesConfig, caplog: pytest.LogCaptureFixture
) -> None:
    table = pd.DataFrame({"patient_id": ["DOE^JOHN"] * 2, "echo_date": "1.2.3", "ECHO_lvef_value": ["DOE 45", "40"]})
    try:
        harmonize("hyperct_wide", {"a": table, "b": table}, catalogue, sources)
    except HyperctError as error:
        assert "DOE" not in str(error)
    harmonize("hyperct_wide", {"a": table}, catalogue, sources)
    assert caplog.text
    assert "DOE" not in caplog.text


@pytest.mark.parametrize(
    ("source", "header"),
    [
        ("hyperct_wide", ["patient_0017", "2020-01-01", "tte", "45"]),
        ("hyperct_wide", ["SMITHJOHN", "2023-05-03", "SMITHJOHN", "45"]),
        ("hyperct_wide", ["patient_id", "2023-05-03", "ECHO_lvef_value", "DOE.1", "DOE"]),
        ("ct_rate", ["VolumeNam_0017", "1", "0"]),
        ("mimic_echo_long", ["10000032", "measurement_17", "2180-01-01", "tte", "rv_function"]),
        ("rad_chestct", ["SMITHJOHN", "1"]),
    ],
)
def test_messages_show_no_cell_that_stands_for_a_header(
    source: str, header: list[str], catalogue: TaskCatalogue, sources: LabelSourcesConfig
) -> None:
    table = pd.DataFrame([["x"] * len(header)], columns=header)
    with pytest.raises(LabelTableError) as caught:
        harmonize(source, {source: table}, catalogue, sources)
    for cell in ("0017", "2020", "2023", "SMITH", "DOE", "10000032", "_17", "2180"):
        assert cell not in str(caught.value)


def test_a_table_without_header_is_told_of_the_header(catalogue: TaskCatalogue, sources: LabelSourcesConfig) -> None:
    # "rv_function" is a column of another source, but here it is a cell
    table = pd.DataFrame([["1"] * 4], columns=["10000032", "measurement_17", "2180-01-01", "rv_function"])
    with pytest.raises(LabelTableError, match="2 of its 4 names of columns are numbers or dates: the header line is"):
        harmonize("mimic_echo_long", {"mimic_echo_long": table}, catalogue, sources)
    table = pd.DataFrame([["1"] * 2], columns=["SMITH", "measurement_17"])
    with pytest.raises(
        LabelTableError, match=r"no column 'measurement'; it has 2 other columns\. Does it have a header"
    ):
        harmonize("mimic_echo_long", {"mimic_echo_long": table}, catalogue, sources)
