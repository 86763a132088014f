"""Tables that join nothing are told apart from tables that say nothing."""

import datetime
import logging
from typing import Any

import pandas as pd
import pytest

from hyperct_pipeline.errors import LabelTableError, LeakageError
from hyperct_pipeline.labels.joins import Join, check_joins
from hyperct_pipeline.labels.sources import LabelSourcesConfig, load_sources
from hyperct_pipeline.labels.study_index import HarmonizeConfig, Harmonized, harmonize_all
from hyperct_pipeline.labels.tasks import TaskCatalogue
from hyperct_pipeline.pseudonyms import DEMO_SECRET, Pseudonyms

PSEUDONYMS = Pseudonyms(DEMO_SECRET)
N = 4


def archive(issuer: str = "") -> pd.DataFrame:
    patients = [PSEUDONYMS.patient_key(f"train_{k}", issuer) for k in range(N)]
    return pd.DataFrame(
        {
            "study_key": [PSEUDONYMS.study_key(f"1.2.{k}") for k in range(N)],
            "patient_key": patients,
            "accession_key": [PSEUDONYMS.accession_key(f"train_{k}_a") for k in range(N)],
            "day": [PSEUDONYMS.day(patient, datetime.date(2024, 3, 1)) for patient in patients],
            "status": "converted",
            "reason_codes": "",
        }
    )


def findings(prefix: str = "train") -> pd.DataFrame:
    return pd.DataFrame({"VolumeName": [f"{prefix}_{k}_a_1" for k in range(N)], "Emphysema": ["1", "0"] * 2})


def echo(patient: str = "train", dates: tuple[str, ...] = ("2024-03-02",) * N) -> pd.DataFrame:
    ids = [f"{patient}_{k}" for k in range(N)]
    return pd.DataFrame({"patient_id": ids, "echo_date": dates, "ECHO_lvef_value": ["40", "60"] * 2})


def cohorts(**columns: str) -> pd.DataFrame:
    table = pd.DataFrame({"id": [f"train_{k}" for k in range(N)]}).assign(
        id_type="patient_id", site="A", cohort="development", split="train", sex="F", age_years="50"
    )
    return table.assign(**columns)


def run(
    tables: dict[str, pd.DataFrame], catalogue: TaskCatalogue, sources: LabelSourcesConfig,
    manifest: pd.DataFrame | None = None, cohort_table: pd.DataFrame | None = None,
) -> Harmonized:  # fmt: skip
    return harmonize_all(
        tables, cohorts() if cohort_table is None else cohort_table, PSEUDONYMS,
        archive() if manifest is None else manifest, pd.DataFrame(), catalogue, sources, HarmonizeConfig(),
    )  # fmt: skip


def test_source_that_matches_nothing_is_warned_of(
    catalogue: TaskCatalogue, sources: LabelSourcesConfig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    run({"ct_rate": findings(), "hyperct_wide": echo()}, catalogue, sources)
    assert "match none" not in caplog.text
    run({"ct_rate": findings(), "hyperct_wide": echo("stranger")}, catalogue, sources)
    assert "'hyperct_wide': its 4 rows match none of the 4 studies of the archive" in caplog.text
    assert "check id.patient (now column 'patient_id') and issuer" in caplog.text
    run({"ct_rate": findings("valid"), "hyperct_wide": echo()}, catalogue, sources)
    assert (
        "'ct_rate': its 4 rows match none of the 4 studies of the archive; check id.type (now accession" in caplog.text
    )


def test_archive_without_any_label_stops_the_run(catalogue: TaskCatalogue, sources: LabelSourcesConfig) -> None:
    strangers = {"ct_rate": findings("valid"), "hyperct_wide": echo("stranger")}
    with pytest.raises(LabelTableError, match=r"(?s)belongs to the image archive:.*'ct_rate'.*'hyperct_wide'"):
        run(strangers, catalogue, sources)
    # without an archive the studies come from the tables themselves
    of_tables = cohorts().assign(id=[f"valid_{k}" for k in range(N)])
    assert len(run(strangers, catalogue, sources, manifest=pd.DataFrame(), cohort_table=of_tables).index) == N


def test_tables_without_rows_are_silent_rightly(sources: LabelSourcesConfig, caplog: pytest.LogCaptureFixture) -> None:
    check_joins({"ct_rate": Join(0, 0)}, N, sources)
    check_joins({"ct_rate": Join(0, 0), "hyperct_wide": Join(3, 1)}, N, sources)
    assert not caplog.text
    with pytest.raises(LabelTableError, match="its 3 rows"):
        check_joins({"ct_rate": Join(0, 0), "hyperct_wide": Join(3, 0)}, N, sources)


@pytest.mark.parametrize(("readable", "warned"), [(4, False), (2, False), (1, True), (0, True)])
def test_dates_that_are_mostly_unreadable_are_warned_of(
    catalogue: TaskCatalogue, sources: LabelSourcesConfig, caplog: pytest.LogCaptureFixture, readable: int, warned: bool
) -> None:
    caplog.set_level(logging.WARNING)
    dates = ("2024-03-02",) * readable + ("02.03.2024",) * (N - readable)
    run({"hyperct_wide": echo(dates=dates)}, catalogue, sources)
    said = f"'hyperct_wide': {N - readable} of 4 dates are unreadable as '%Y-%m-%d'"
    assert (said in caplog.text) == warned
    assert "02.03" not in caplog.text


def test_issuer_of_source_and_cohorts_joins_an_archive_that_states_one(
    catalogue: TaskCatalogue, sources: LabelSourcesConfig, sources_yaml: dict[str, Any]
) -> None:
    manifest, tables = archive("Clinic A"), {"ct_rate": findings(), "hyperct_wide": echo()}
    with pytest.raises(LeakageError, match=r"set the source's issuer"):
        run(tables, catalogue, sources, manifest)
    for name in tables:
        sources_yaml["sources"][name]["issuer"] = "clinic a "  # compared as the ids are: stripped, case-folded
    own = load_sources(sources_yaml, catalogue)
    index = run(tables, catalogue, own, manifest, cohorts(issuer="Clinic A")).index.set_index("study_key")
    index = index.loc[[PSEUDONYMS.study_key(f"1.2.{k}") for k in range(N)]]
    assert index["emphysema"].tolist() == [1, 0, 1, 0]
    assert index["reduced_lv_systolic_function"].tolist() == [1, 0, 1, 0]
    assert index["cohort"].tolist() == ["development"] * N
    with pytest.raises(LabelTableError, match=r"its 4 rows match none of the 4 studies.*patient_id \(4\).*issuer"):
        run(tables, catalogue, own, manifest, cohorts())


def test_one_patient_id_of_two_issuers_is_two_patients(catalogue: TaskCatalogue) -> None:
    manifest = archive("A").assign(patient_key=[PSEUDONYMS.patient_key("7", issuer) for issuer in ("A", "B", "", "C")])
    table = cohorts().assign(id="7", issuer=["A", "B", "", ""], cohort=["a", "b", "none", "none"])
    own = {"manual": pd.DataFrame({"accession": ["train_1_a"], "Emphysema": ["1"]})}
    config = {"kind": "findings_wide", "id": {"column": "accession", "type": "accession_number"}}
    index = run(own, catalogue, load_sources({"sources": {"manual": config}}, catalogue), manifest, table).index
    cohort = index.set_index("study_key")["cohort"]
    found = [cohort[PSEUDONYMS.study_key(f"1.2.{k}")] for k in range(N)]
    assert found[:3] == ["a", "b", "none"]
    assert pd.isna(found[3])
