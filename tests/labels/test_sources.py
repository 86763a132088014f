import logging
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from hyperct_pipeline.errors import ConfigError, LabelTableError
from hyperct_pipeline.labels.echo_table import read_echo
from hyperct_pipeline.labels.findings_table import read_findings
from hyperct_pipeline.labels.harmonization import harmonize
from hyperct_pipeline.labels.intervals import Reason
from hyperct_pipeline.labels.sources import LabelSourcesConfig, load_sources
from hyperct_pipeline.labels.tasks import TaskCatalogue
from hyperct_pipeline.pseudonyms import DEMO_SECRET, Pseudonyms

PSEUDONYMS = Pseudonyms(DEMO_SECRET)
INF = math.inf
CONF = Path(__file__).parents[2] / "conf"


def findings(table: dict[str, list], catalogue: TaskCatalogue, sources: LabelSourcesConfig, **options: Any):
    return read_findings("ct_rate", pd.DataFrame(table), sources.of("ct_rate"), catalogue, PSEUDONYMS, **options)


def echo(table: dict[str, list], catalogue: TaskCatalogue, sources: LabelSourcesConfig, name: str = "hyperct_wide"):
    return read_echo(name, pd.DataFrame(table), sources.of(name), catalogue, PSEUDONYMS, need_ids=False)


def test_reconstructions_become_one_study_and_must_agree(catalogue: TaskCatalogue, sources: LabelSourcesConfig) -> None:
    table = {
        "VolumeName": ["train_1_a_1.nii.gz", "train_1_a_2.nii.gz", "train_1_b_1.nii.gz", "valid_1_a_1.nii.gz"],
        "Lung nodule": ["1", "0", "1.0", "2"],
        "Emphysema": ["1", "", "0", ""],
    }
    reading = findings(table, catalogue, sources)
    assert reading.rows["accession_key"].tolist() == [
        PSEUDONYMS.accession_key(name) for name in ("train_1_a", "train_1_b", "valid_1_a")
    ]
    # the split prefix is part of the patient: train_1 and valid_1 are strangers
    assert reading.rows["patient_key"].tolist() == [
        PSEUDONYMS.patient_key(name) for name in ("train_1", "train_1", "valid_1")
    ]
    nodule, emphysema = reading.intervals["lung_nodule"], reading.intervals["emphysema"]
    assert [Reason(r) for r in nodule.reason] == [Reason.SOURCE_CONFLICT, Reason.FINDING, Reason.UNMAPPED_TEXT]
    assert emphysema.low[:2].tolist() == [1, 0]
    assert ("rows", "repeated_study", 1) in reading.counts
    assert ("lung_nodule", "unmapped_text", 1) in reading.counts


def test_columns_that_name_one_finding_must_agree(catalogue: TaskCatalogue, sources: LabelSourcesConfig) -> None:
    table = {
        "VolumeName": [f"train_{k}_a_1" for k in range(6)] + ["train_5_a_2"],
        "Lung nodule": ["0", "1", "", "0", "", "1", "0"],
        "lung_nodule": ["1", "1", "1", "", "", "1", "1"],
    }
    reading = findings(table, catalogue, sources)
    nodule = reading.intervals["lung_nodule"]
    assert nodule.low[1:4].tolist() == nodule.high[1:4].tolist() == [1, 1, 0]
    assert [Reason(r) for r in nodule.reason] == [
        Reason.ALIAS_CONFLICT, Reason.FINDING, Reason.FINDING, Reason.FINDING, Reason.NOT_MEASURED,
        Reason.SOURCE_CONFLICT,
    ]  # fmt: skip
    assert ("lung_nodule", "alias_conflict", 1) in reading.counts


def test_a_third_column_does_not_settle_a_conflict(catalogue: TaskCatalogue, sources: LabelSourcesConfig) -> None:
    table = {"VolumeName": ["train_1_a_1"], "Lung nodule": ["0"], "lung_nodule": ["1"], "LUNG NODULE": ["1"]}
    assert findings(table, catalogue, sources).intervals["lung_nodule"].reason.tolist() == [Reason.ALIAS_CONFLICT]


def test_id_of_another_form_is_counted_not_used(catalogue: TaskCatalogue, sources: LabelSourcesConfig) -> None:
    reading = findings(
        {"VolumeName": ["1.23E+12", "", "train_2_a_1"], "Emphysema": ["1", "1", "1"]}, catalogue, sources
    )
    assert len(reading.rows) == 1
    assert ("rows", "id_cut_by_spreadsheet", 1) in reading.counts
    assert ("rows", "id_blank", 1) in reading.counts


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"Volume_Name": ["x"], "Emphysema": ["1"]}, "'ct_rate' has no column 'VolumeName'; nearest: 'Volume_Name'"),
        ({"VolumeName": ["x"], "Emphysemas": ["1"]}, "has no column 'emphysema'.*nearest: 'Emphysemas'"),
        ({"VolumeName": ["x"], "unrelated": ["1"]}, "none of the columns its source declares"),
        ({"VolumeName": ["x"], "Emphysema": ["1"], "Emphysema.1": ["0"]}, "stand twice"),
    ],
)
def test_table_that_lacks_what_is_needed_is_refused(
    catalogue: TaskCatalogue, sources: LabelSourcesConfig, table: dict[str, list], message: str
) -> None:
    with pytest.raises(LabelTableError, match=message):
        findings(table, catalogue, sources)


def test_renamed_echo_column_is_refused(catalogue: TaskCatalogue, sources: LabelSourcesConfig) -> None:
    with pytest.raises(
        LabelTableError, match=r"'echo_metric' has no column 'lvidd_mm' .for lvidd.; nearest: 'lvidd mm'"
    ):
        echo({"lvef_pct": ["50"], "lvidd mm": ["50"]}, catalogue, sources, "echo_metric")


def test_aliases_must_agree(catalogue: TaskCatalogue, sources: LabelSourcesConfig) -> None:
    table = {"ECHO_lvef_value": ["55-60", "40", "", "50"], "lvef_value": ["58", "60", "35", "50.1"]}
    lvef = echo(table, catalogue, sources).intervals["lvef"]
    assert lvef.low[[0, 2, 3]].tolist() == [58, 35, 50]
    assert Reason(lvef.reason[1]) is Reason.ALIAS_CONFLICT


def test_derived_only_where_not_measured(catalogue: TaskCatalogue, sources: LabelSourcesConfig) -> None:
    table = {
        "ECHO_la_volume_index_value": ["30", "", "see note", ""],
        "la_volume_ml": ["62", "62", "62", "62"],
        "bsa_m2": ["1.6", "1.6", "1.6", ""],
    }
    index = echo(table, catalogue, sources).intervals["la_volume_index"]
    assert index.low[:2].tolist() == [30, 38.8]
    assert [Reason(r) for r in index.reason] == [
        Reason.MEASURED, Reason.DERIVED, Reason.UNMAPPED_TEXT, Reason.NOT_MEASURED,
    ]  # fmt: skip


def test_derived_from_one_sided_texts(catalogue: TaskCatalogue, sources: LabelSourcesConfig) -> None:
    """A side that nothing was said about is neither out of range nor zero."""
    cases = [  # LA volume (mL), BSA (m2) -> bounds and open ends of the index, reason, atrial enlargement (> 35)
        (">100", "1.6", (62.5, INF, True, False), Reason.DERIVED, 1),
        ("<40", "1.6", (-INF, 25.0, False, True), Reason.DERIVED, 0),
        (">=56", "1.6", (35.0, INF, False, False), Reason.DERIVED, None),
        (">56", "1.6", (35.0, INF, True, False), Reason.DERIVED, 1),
        # more than 34.97 is 35.0 once rounded, which is not above 35
        (">56.3", "1.61", (35.0, INF, False, False), Reason.DERIVED, None),
        ("100", "<2", (50.0, INF, True, False), Reason.DERIVED, 1),
        ("40", ">2", (-INF, 20.0, False, True), Reason.DERIVED, 0),
        ("60-80", "1.6", (37.5, 50.0, False, False), Reason.DERIVED, 1),
        (">100", ">1.6", (-INF, INF, False, False), Reason.RANGE_STRADDLES, None),
        ("300", "1.0", (-INF, INF, False, False), Reason.OUT_OF_RANGE, None),
        (">300", "1.0", (-INF, INF, False, False), Reason.OUT_OF_RANGE, None),
        ("<8", "2.0", (-INF, INF, False, False), Reason.OUT_OF_RANGE, None),
        (">100", "", (-INF, INF, False, False), Reason.NOT_MEASURED, None),
    ]
    table = {"la_volume_ml": [case[0] for case in cases], "bsa_m2": [case[1] for case in cases]}
    index = echo(table, catalogue, sources).intervals["la_volume_index"]
    found = list(zip(index.low, index.high, index.low_open, index.high_open, strict=True))
    assert found == [case[2] for case in cases]
    assert [Reason(r) for r in index.reason] == [case[3] for case in cases]
    labels = harmonize("hyperct_wide", {"echo": pd.DataFrame(table)}, catalogue, sources)
    enlarged = labels.loc[labels["task"] == "atrial_chamber_enlargement", "label"]
    assert [None if pd.isna(label) else int(label) for label in enlarged] == [case[4] for case in cases]


def test_only_resting_examinations_count(catalogue: TaskCatalogue, sources: LabelSourcesConfig) -> None:
    reading = echo({"ECHO_lvef_value": ["50"] * 4, "test_type": ["TTE", "stress", "tee", ""]}, catalogue, sources)
    assert reading.rows["excluded"].tolist() == [False, True, True, True]


def test_identifiers_and_dates_never_leave_the_reader(
    catalogue: TaskCatalogue, sources: LabelSourcesConfig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    table = {"patient_id": ["Anna Example"], "echo_date": ["2023-06-01"], "ECHO_lvef_value": ["Anna Example 45%"]}
    reading = echo(table, catalogue, sources)
    shown = repr(reading) + reading.rows.to_csv() + caplog.text
    assert "Anna" not in shown
    assert "2023-06" not in shown


def test_unknown_source_lists_the_known_ones(sources: LabelSourcesConfig) -> None:
    with pytest.raises(LabelTableError, match=r"'ct_rat'; nearest known: 'ct_rate'.*hyperct_wide, echo_metric"):
        sources.of("ct_rat")


def test_all_errors_of_the_sources_are_listed_at_once(sources_yaml: dict[str, Any], catalogue: TaskCatalogue) -> None:
    wide = sources_yaml["sources"]["hyperct_wide"]["columns"]
    wide["lvef"]["unit"] = "kg"
    wide["sex"]["words"]["m"] = "X"
    wide["lvff"] = {"names": ["a"], "unit": "cm"}
    sources_yaml["sources"]["ct_rate"]["id"]["pattern"] = "(?P<patient>.*)"
    with pytest.raises(ConfigError) as caught:
        load_sources(sources_yaml, catalogue)
    for part in ("lvef.unit: 'kg'", "unknown level 'X'", "lvff: unknown quantity; nearest known: 'lvef'", "?P<study>"):
        assert part in str(caught.value)


def test_mistakes_of_form_hide_no_others(catalogue_yaml: dict[str, Any], sources_yaml: dict[str, Any]) -> None:
    tasks, wide = catalogue_yaml["hyperct"]["tasks"], sources_yaml["sources"]["hyperct_wide"]["columns"]
    tasks["emphysema"] = tasks["emphysema"] | {"positve_when": "x"}
    tasks["pulmonary_hypertension"]["positive_when"] = "pasp > 35"
    catalogue_yaml["quantities"]["bsa"]["vaild"] = [1, 2]
    sources_yaml["sources"]["ct_rate"]["colums"] = {}
    sources_yaml["sources"]["echonext"]["kind"] = "echo_wid"
    sources_yaml["sources"]["e"] = {"kind": "echo_wid"}
    wide["lvedd"] = {"names": ["a"], "unit": "cm"}
    wide["lvef"]["unit"] = "kg"
    with pytest.raises(ConfigError) as caught:
        harmonize("hyperct_wide", {"t": pd.DataFrame({"ECHO_lvef_value": [40]})}, catalogue_yaml, sources_yaml)
    message = str(caught.value)
    for part in (
        "hyperct.tasks.emphysema.positve_when", "pulmonary_hypertension.positive_when: 'pasp' has the unit mmHg",
        "quantities.bsa.vaild", "sources.ct_rate.findings_wide.colums", "columns.lvedd: unknown quantity",
        "lvef.unit: 'kg'",
        "parameters_tasks.yml", "parameters_sources.yml",
    ):  # fmt: skip
        assert message.count(part) == 1, part
    assert "unknown quantity 'bsa'" not in message
    assert "bsa: unknown quantity" not in message


def test_entries_that_would_never_or_doubly_match_are_refused(
    sources_yaml: dict[str, Any], catalogue: TaskCatalogue
) -> None:
    wide = sources_yaml["sources"]["hyperct_wide"]
    wide["columns"]["rv_function"]["words"]["Normal"] = "severely_reduced"
    wide["columns"]["bsa"]["names"] = ["la_volume_ml"]
    wide["id"]["date_format"] = "%Q"
    long = sources_yaml["sources"]["mimic_echo_long"]
    long["id"]["date_format"] = "%d.%m"
    long["columns"]["tr_vmax"]["names"] = ["LVEF_3D"]
    with pytest.raises(ConfigError) as caught:
        load_sources(sources_yaml, catalogue)
    for part in (
        "hyperct_wide.columns.rv_function.words: 'normal' and 'Normal' are one word",
        "hyperct_wide.columns.bsa: 'la_volume_ml' stands under 'la_volume' too",
        "hyperct_wide.id.date_format: '%Q' is no format of a date", "mimic_echo_long.id.date_format: '%d.%m' lacks",
        "mimic_echo_long.columns.tr_vmax: 'LVEF_3D' stands under 'lvef' too",
    ):  # fmt: skip
        assert part in str(caught.value)


def test_case_of_configured_words_does_not_matter(sources_yaml: dict[str, Any], catalogue: TaskCatalogue) -> None:
    sources_yaml["sources"]["merlin"]["present"] = ["YES", "1.0"]
    sources_yaml["sources"]["mimic_echo_long"]["use_study_types"] = ["TTE"]
    sources_yaml["sources"]["mimic_echo_long"]["columns"]["lvef"]["names"] = ["Biplane_LVEF"]
    loaded = load_sources(sources_yaml, catalogue)
    table = pd.DataFrame({"study id": ["a", "b"], "emphysema": ["yes", "1"]})
    found = harmonize("merlin", {"merlin": table}, catalogue, loaded).query("task == 'emphysema'")
    assert found["label"].tolist() == [1, 1]
    table = pd.DataFrame([{"measurement": "biplane_lvef", "result": "40", "test_type": "tte"}])
    found = harmonize("mimic_echo_long", {"t": table}, catalogue, loaded).set_index("task")
    assert found["label"]["reduced_lv_systolic_function"] == 1


def test_unknown_key_is_refused(sources_yaml: dict[str, Any], catalogue: TaskCatalogue) -> None:
    sources_yaml["sources"]["ct_rate"]["presnt"] = ["1"]
    with pytest.raises(ConfigError, match="presnt"):
        load_sources(sources_yaml, catalogue)


@pytest.mark.parametrize("file", ["base/catalog_raw.yml", "paper/catalog.yml"])
def test_every_table_can_be_given_and_needs_a_secret(file: str, sources: LabelSourcesConfig) -> None:
    catalog = yaml.safe_load((CONF / file).read_text(encoding="utf-8"))
    assert sources.extra_tables == {"ct_rate_no_chest", "rad_chestct_metadata"}
    tables, secret = catalog["label_tables"], catalog["pseudonyms"]
    # whatever is given as labels.<source> is read, and asks for the secret
    assert tables["given"] == secret["given"] == "${runtime_params:labels, null}"
    for name, table in tables["tables"].items():
        assert table["path"].startswith(f"${{runtime_params:labels.{name}, ")
        assert secret["inputs"][name] == table
    assert {"archive", "cohorts"} <= set(secret["inputs"])
