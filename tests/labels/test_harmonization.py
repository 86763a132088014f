"""The entry point: the visible tricky cases, and what comes out of it."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from hyperct_pipeline.errors import ConfigError, LabelTableError
from hyperct_pipeline.labels import harmonize
from hyperct_pipeline.labels.harmonization import LABEL_COLUMNS
from hyperct_pipeline.labels.sources import LabelSourcesConfig
from hyperct_pipeline.labels.tasks import TaskCatalogue


def label_of_case(case: Any, catalogue: TaskCatalogue, sources: LabelSourcesConfig) -> str:
    given = json.loads(case.input_columns_json)
    if case.source == "linked":
        tables = {"ct": pd.DataFrame([given["ct"]]), "echo": pd.DataFrame(given["echo"])}
        labels = harmonize("hyperct_wide", tables, catalogue, sources, {"window_days": given["window_days"]})
    else:
        rows = given.get("rows", [given])
        table = pd.DataFrame([{k: v for k, v in row.items() if not k.startswith("_")} for row in rows])
        tables = {case.source: table}
        if excluded := [row for row in rows if "_excluded" in row]:
            tables["ct_rate_no_chest"] = pd.DataFrame(excluded)[["VolumeName"]]
        labels = harmonize(case.source, tables, catalogue, sources)
    label = labels.loc[labels["task"] == case.task, "label"].iloc[0]
    return "unknown" if pd.isna(label) else str(label)


def test_visible_tricky_cases(test_data: Path, catalogue: TaskCatalogue, sources: LabelSourcesConfig) -> None:
    cases = pd.read_csv(test_data / "labels" / "tricky_cases.csv")
    shipped = cases[cases["source"].isin([*sources.sources, "linked"])]
    found = {case.case_id: label_of_case(case, catalogue, sources) for case in shipped.itertuples()}
    assert len(found) == 25
    assert found == dict(zip(shipped["case_id"], shipped["expected"], strict=True))


def test_one_row_per_study_and_task(catalogue: TaskCatalogue, sources: LabelSourcesConfig) -> None:
    table = pd.DataFrame({"VolumeName": ["train_7_a_1", "train_8_a_1"], "Emphysema": ["1", "0"]})
    labels = harmonize("ct_rate", {"ct_rate": table}, catalogue, sources)
    assert tuple(labels.columns) == LABEL_COLUMNS
    assert labels["task"].tolist() == [*catalogue.ids, *catalogue.ids]
    assert labels["label"].dtype == "Int8"
    assert set(labels["study_key"]) == {"1", "2"}
    emphysema = labels[labels["task"] == "emphysema"]
    assert emphysema["label"].tolist() == [1, 0]
    assert emphysema["evidence"].tolist() == ["emphysema present", "emphysema absent"]
    assert emphysema["rule_id"].tolist() == ["hyperct.emphysema"] * 2
    cardiac = labels[labels["task"] == "pulmonary_hypertension"]
    assert cardiac["reason"].tolist() == ["not_available_in_source"] * 2


def test_pairing_keeps_the_gap(catalogue: TaskCatalogue, sources: LabelSourcesConfig) -> None:
    ct = pd.DataFrame({"patient_id": ["A", "B"], "date": ["2024-03-01", "2024-03-01"]})
    echo = pd.DataFrame(
        {"patient_id": ["a ", "B"], "echo_date": ["2024-02-20", "2023-01-01"], "ECHO_lvef_value": ["40", "40"]}
    )
    labels = harmonize("hyperct_wide", {"ct": ct, "echo": echo}, catalogue, sources, {})
    lvef = labels[labels["task"] == "reduced_lv_systolic_function"]
    assert lvef["echo_gap_days"].tolist() == [-10, pd.NA]
    assert lvef["reason"].tolist() == ["measured", "outside_window"]


def test_excluded_examination_is_unknown(catalogue: TaskCatalogue, sources: LabelSourcesConfig) -> None:
    table = pd.DataFrame({"ECHO_lvef_value": ["40"], "test_type": ["stress"]})
    labels = harmonize("hyperct_wide", {"echo": table}, catalogue, sources).set_index("task")
    assert labels.loc["reduced_lv_systolic_function", "reason"] == "excluded"
    assert pd.isna(labels.loc["reduced_lv_systolic_function", "label"])


def test_errors_say_what_is_missing(catalogue: TaskCatalogue, sources: LabelSourcesConfig) -> None:
    echo = pd.DataFrame({"ECHO_lvef_value": ["40"]})
    with pytest.raises(LabelTableError, match="Unknown label source 'hyperct_wid'"):
        harmonize("hyperct_wid", {"echo": echo}, catalogue, sources)
    with pytest.raises(LabelTableError, match="No table for the source 'hyperct_wide'"):
        harmonize("hyperct_wide", {}, catalogue, sources)
    with pytest.raises(LabelTableError, match="has no column 'patient_id'"):
        harmonize("hyperct_wide", {"echo": echo, "ct": echo}, catalogue, sources, {})
    dated = echo.assign(patient_id="a", date="2024-01-01")
    with pytest.raises(LabelTableError, match="Pairing needs the table 'ct'"):
        harmonize("hyperct_wide", {"hyperct_wide": dated}, catalogue, sources, {})
    with pytest.raises(LabelTableError, match="'ct_rate' holds no echo examinations"):
        table = pd.DataFrame({"VolumeName": ["train_1_a_1"], "Emphysema": ["1"]})
        harmonize("ct_rate", {"ct_rate": table, "ct": dated}, catalogue, sources, {})
    with pytest.raises(LabelTableError, match="is a list; expected a pandas data frame"):
        harmonize("hyperct_wide", {"echo": [1]}, catalogue, sources)  # type: ignore[dict-item]
    with pytest.raises(ConfigError, match="windw_days"):
        tables = {"hyperct_wide": dated, "ct": dated[["patient_id", "date"]]}
        harmonize("hyperct_wide", tables, catalogue, sources, {"windw_days": (0, 1)})


def test_configuration_as_it_stands_in_the_files(catalogue_yaml: dict[str, Any], sources_yaml: dict[str, Any]) -> None:
    ct = pd.DataFrame({"patient_id": ["A"], "date": ["2024-03-01"]})
    echo = pd.DataFrame({"patient_id": ["A"], "echo_date": ["2024-03-11"], "ECHO_lvef_value": ["40"]})
    labels = [
        harmonize("hyperct_wide", {"ct": ct, "echo": echo}, catalogue, sources, linkage)
        for catalogue, sources, linkage in (
            (catalogue_yaml, sources_yaml, {"window_days": [-5, 20]}),
            (
                {"task_catalogue": catalogue_yaml},
                {"label_sources": sources_yaml},
                {"linkage": {"window_days": [-5, 20]}},
            ),
        )
    ]
    pd.testing.assert_frame_equal(*labels)
    assert labels[0].set_index("task").loc["reduced_lv_systolic_function", "label"] == 1


def test_policy_of_the_public_code_is_there_for_comparison(
    catalogue_yaml: dict[str, Any], sources_yaml: dict[str, Any]
) -> None:
    table = pd.DataFrame({"ECHO_e_a_ratio": [0.9], "ECHO_la_volume_index_value": [""], "tr_max_velocity_value": [""]})
    for policy, expected in (("kleene", None), ("at_least_2_known", None), ("observed_only", 0)):
        labels = harmonize("hyperct_wide", {"a": table}, catalogue_yaml | {"or_rule": policy}, sources_yaml)
        found = labels.set_index("task").loc["left_atrial_filling_pressure", "label"]
        assert (None if pd.isna(found) else found) == expected
