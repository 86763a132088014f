import datetime
import logging

import numpy as np
import pandas as pd
import pytest

from hyperct_pipeline.errors import LabelTableError, LeakageError
from hyperct_pipeline.labels.harmonization_report import cohort_flow, conflicts_table, harmonization_report
from hyperct_pipeline.labels.prevalence import prevalence_figure, wilson_interval
from hyperct_pipeline.labels.sources import LabelSourcesConfig, load_sources
from hyperct_pipeline.labels.study_index import INDEX_COLUMNS, HarmonizeConfig, Harmonized, harmonize_all
from hyperct_pipeline.labels.tasks import TaskCatalogue
from hyperct_pipeline.pseudonyms import DEMO_SECRET, Pseudonyms

PSEUDONYMS = Pseudonyms(DEMO_SECRET)
EMPTY = pd.DataFrame()
N = 20


def study_key(number: int) -> str:
    return PSEUDONYMS.study_key(f"1.2.{number}")


def patient_key(number: int) -> str:
    return PSEUDONYMS.patient_key(f"train_{number}")


def manifest() -> pd.DataFrame:
    """Studies 1.2.0 to 1.2.19, one per patient; the first was refused."""
    numbers = range(N)
    return pd.DataFrame(
        {
            "study_key": [study_key(k) for k in numbers],
            "patient_key": [patient_key(k) for k in numbers],
            "accession_key": [PSEUDONYMS.accession_key(f"train_{k}_a") for k in numbers],
            "day": [PSEUDONYMS.day(patient_key(k), datetime.date(2024, 3, 1)) for k in numbers],
            "status": ["refused"] + ["converted"] * (N - 1),
            "reason_codes": ["NO_USABLE_SERIES"] + [""] * (N - 1),
            "sex": ["M"] * N,
            "age_years": [60.0] * N,
            "scanner": ["S"] * N,
            "kernel": ["soft"] * N,
        }
    )


def preprocessed() -> pd.DataFrame:
    keys = [study_key(k) for k in range(1, N)]
    status = ["refused"] + ["stored"] * (N - 2)
    return pd.DataFrame(
        {
            "study_key": keys,
            "status": status,
            "reason_codes": ["QUALITY_REJECT"] + [""] * (N - 2),
            "volume": [None, *keys[1:]],
            "volume_sha256": [None, *(f"digest of {key}" for key in keys[1:])],
        }
    )


def ct_rate() -> pd.DataFrame:
    """Labels of studies 0 to 18 and of one that the archive does not hold."""
    names = [f"train_{k}_a_1.nii.gz" for k in range(N - 1)] + ["train_99_a_1.nii.gz"]
    return pd.DataFrame({"VolumeName": names, "Emphysema": ["1", "0"] * (N // 2), "Hiatal hernia": ["0"] * N})


def hyperct_wide() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "patient_id": ["train_2", "train_3", "train_4", "stranger"],
            "echo_date": ["2024-02-20", "2022-01-01", "2024-03-02", "2024-03-01"],
            "test_type": ["tte"] * 4,
            "ECHO_lvef_value": ["40%", "40", "45-55%", "60"],
            "ECHO_lv_d_measurement": ["5.5", "5.5", "5.5", "5.5"],
            "Patients_Sex": ["Male", "M", "F", "M"],
        }
    )


def cohorts(**changes: str) -> pd.DataFrame:
    """Patients 0 to 17 in development, 18 in the internal test, 19 not listed."""
    rows = [
        {
            "id_type": "patient_id",
            "id": f"train_{k}",
            "site": "A",
            "cohort": "development" if k < 18 else "internal_test",
            "split": "" if k < 18 else "test",
            "sex": "M" if k != 5 else "F",
            "age_years": "61" if k != 6 else "70",
        }
        for k in range(N - 1)
    ]
    return pd.DataFrame([*rows, rows[0] | changes] if changes else rows)


def run(
    catalogue: TaskCatalogue, sources: LabelSourcesConfig, tables: dict[str, pd.DataFrame] | None = None,
    cohort_table: pd.DataFrame | None = None, images: bool = True,
) -> Harmonized:  # fmt: skip
    return harmonize_all(
        {"ct_rate": ct_rate(), "hyperct_wide": hyperct_wide()} if tables is None else tables,
        cohorts() if cohort_table is None else cohort_table,
        PSEUDONYMS,
        manifest() if images else EMPTY,
        preprocessed() if images else EMPTY,
        catalogue,
        sources,
        HarmonizeConfig(),
    )


def test_every_study_keeps_its_row(catalogue: TaskCatalogue, sources: LabelSourcesConfig) -> None:
    index = run(catalogue, sources).index.set_index("study_key")
    assert tuple(index.reset_index().columns) == (*INDEX_COLUMNS, *catalogue.ids)
    assert len(index) == N + 1
    assert index.loc[study_key(0), ["status", "reason"]].tolist() == ["refused", "NO_USABLE_SERIES"]
    assert index.loc[study_key(1), ["status", "reason"]].tolist() == ["refused", "QUALITY_REJECT"]
    assert index.loc[study_key(2), ["status", "volume"]].tolist() == ["ready", study_key(2)]
    assert index.loc[PSEUDONYMS.study_key("train_99_a"), "status"] == "no_image"
    assert index["volume"].notna().sum() == N - 2
    assert index.loc[study_key(2), "volume_sha256"] == f"digest of {study_key(2)}"
    assert all(index[task].dtype == "Int8" for task in catalogue.ids)


def test_labels_reach_their_study(catalogue: TaskCatalogue, sources: LabelSourcesConfig) -> None:
    result = run(catalogue, sources)
    index = result.index.set_index("study_key")
    assert index.loc[[study_key(k) for k in range(4)], "emphysema"].tolist() == [1, 0, 1, 0]
    assert pd.isna(index.loc[study_key(19), "emphysema"])
    assert index.loc[study_key(2), "reduced_lv_systolic_function"] == 1
    labels = result.labels.set_index(["study_key", "task", "source"])["reason"]
    task = "reduced_lv_systolic_function"
    assert labels[study_key(3), task, "hyperct_wide"] == "outside_window"
    assert labels[study_key(4), task, "hyperct_wide"] == "range_straddles"
    # the male limit is 5.9 cm, the female one 5.3: the sex of study 4 is contradicted, so it stays open
    assert index.loc[study_key(2), "ventricular_enlargement"] == 0
    assert pd.isna(index.loc[study_key(4), "ventricular_enlargement"])


def test_ids_that_differ_by_case_alone_are_one_study(
    catalogue: TaskCatalogue, sources: LabelSourcesConfig, sources_yaml: dict
) -> None:
    sources_yaml["sources"]["ct_rate"] |= {"id": {"column": "accession", "type": "accession_number"}}
    sources_yaml["sources"]["ct_rate"]["exclude_tables"] = ["listed"]
    table = pd.DataFrame(
        {
            "accession": ["TRAIN_1_A", "train_1_a", "Train_2_a", "train_2_a", "train_3_A", "train_3_a"],
            "Emphysema": ["1", "1", "1", "0", "1", "1"],
        }
    )
    tables = {"ct_rate": table, "listed": pd.DataFrame({"accession": ["tRAIN_3_a"]})}
    result = run(catalogue, load_sources(sources_yaml, catalogue), tables)
    assert len(result.index) == N
    label = result.index.set_index("study_key")["emphysema"]
    assert [None if pd.isna(label[study_key(k)]) else int(label[study_key(k)]) for k in (1, 2, 3)] == [1, None, None]
    reason = result.labels[result.labels["task"] == "emphysema"].set_index("study_key")["reason"]
    assert reason[[study_key(k) for k in (1, 2, 3)]].tolist() == ["finding", "source_conflict", "excluded"]
    assert ("rows", "repeated_study", 3) in result.counts["ct_rate"]


def test_every_study_has_a_label_row_for_every_task(catalogue: TaskCatalogue, sources: LabelSourcesConfig) -> None:
    result = run(catalogue, sources)
    pairs = result.labels[["study_key", "task"]].drop_duplicates()
    assert len(pairs) == len(result.index) * len(catalogue.ids)
    assert result.labels.loc[result.labels["study_key"] == study_key(19), "source"].isna().all()


def test_sex_and_age_that_are_contradicted_are_unknown(catalogue: TaskCatalogue, sources: LabelSourcesConfig) -> None:
    index = run(catalogue, sources).index.set_index("study_key")
    assert index.loc[study_key(2), ["sex", "age_years"]].tolist() == ["M", 61]
    assert pd.isna(index.loc[study_key(5), "sex"])
    assert pd.isna(index.loc[study_key(6), "age_years"])


def test_contradicted_sex_is_a_conflict_where_it_decides(
    catalogue: TaskCatalogue, sources: LabelSourcesConfig, caplog: pytest.LogCaptureFixture
) -> None:
    # the archive says M; an LV of 5.5 cm is large for a woman only
    echo = hyperct_wide().assign(Patients_Sex=["F", "M", "", ""], echo_date="2024-03-01")
    result = run(catalogue, sources, {"ct_rate": ct_rate(), "hyperct_wide": echo}, cohort_table=EMPTY)
    labels = result.labels.query("task == 'ventricular_enlargement' and source == 'hyperct_wide'")
    reasons = labels.set_index("study_key")["reason"]
    assert reasons[study_key(2)] == "source_conflict"
    assert reasons[study_key(3)] == "measured"
    assert study_key(2) in set(conflicts_table(result.labels).query("task == 'ventricular_enlargement'")["study_key"])
    assert "The sex of 1 studies is contradicted" in caplog.text


def test_an_exclusion_list_that_two_sources_share_is_counted_once(
    catalogue: TaskCatalogue, sources: LabelSourcesConfig, caplog: pytest.LogCaptureFixture
) -> None:
    listed = pd.DataFrame({"VolumeName": ["train_1_a_1", "train_2_a_1"]})
    tables = {"ct_rate": ct_rate(), "ct_rate_manual": ct_rate().head(2), "ct_rate_no_chest": listed}
    result = run(catalogue, sources, tables, cohort_table=EMPTY, images=False)
    assert "ids_of_no_study" not in caplog.text
    assert (result.eligibility["exclusions"] == "on_exclusion_list").sum() == 2
    listed.loc[2] = "train_777_a_1"
    run(catalogue, sources, tables | {"ct_rate_no_chest": listed}, cohort_table=EMPTY, images=False)
    assert caplog.text.count("ct_rate_no_chest: 1 ids_of_no_study") == 1


def test_an_age_above_90_is_90(catalogue: TaskCatalogue, sources: LabelSourcesConfig) -> None:
    old = cohorts().assign(age_years=["97"] + ["90"] * (N - 2))
    ages = run(catalogue, sources, cohort_table=old, images=False).index["age_years"]
    assert ages.dropna().eq(90.0).all()
    assert ages.notna().sum() == N - 1


def test_study_outside_the_cohorts_table_is_kept_and_never_trained_on(
    catalogue: TaskCatalogue, sources: LabelSourcesConfig
) -> None:
    row = run(catalogue, sources).index.set_index("study_key").loc[study_key(19)]
    assert row[["site", "cohort", "split"]].isna().all()
    assert row["reason"] == "NOT_IN_COHORTS"


def test_without_images_studies_come_from_the_tables(catalogue: TaskCatalogue, sources: LabelSourcesConfig) -> None:
    index = run(catalogue, sources, images=False).index
    assert len(index) == N
    assert index["volume"].isna().all()
    assert (index["status"] == "no_image").all()
    assert index["emphysema"].notna().all()
    assert index["split"].isin(["train", "validation", "test"]).sum() == N - 1


def test_source_of_higher_precedence_wins_and_equals_conflict(
    catalogue: TaskCatalogue, sources_yaml: dict, sources: LabelSourcesConfig
) -> None:
    manual = ct_rate().assign(Emphysema=["1"] * 10 + [""] * 10)
    for precedence, expected in ((100, [1, 1, 1, 0]), (10, [1, None, 1, 0])):
        sources_yaml["sources"]["manual"] = {**sources_yaml["sources"]["ct_rate"], "precedence": precedence}
        both = {"ct_rate": ct_rate(), "manual": manual}
        result = run(catalogue, load_sources(sources_yaml, catalogue), both)
        found = result.index.set_index("study_key").loc[[study_key(k) for k in (0, 1, 10, 11)], "emphysema"]
        assert [None if pd.isna(label) else int(label) for label in found] == expected


def test_contradicting_cohort_rows_are_refused(catalogue: TaskCatalogue, sources: LabelSourcesConfig) -> None:
    with pytest.raises(LabelTableError, match="1 ids have rows that contradict"):
        run(catalogue, sources, cohort_table=cohorts(site="B"))
    twice = pd.concat([cohorts(split="train"), cohorts(split="test").tail(1)])
    with pytest.raises(LeakageError, match=f"{patient_key(0)} in test and train"):
        run(catalogue, sources, cohort_table=twice)
    with pytest.raises(LabelTableError, match=r"1 rows have an unknown split; expected train, validation, test"):
        run(catalogue, sources, cohort_table=cohorts(split="holdout"))
    with pytest.raises(LabelTableError, match="'cohorts' has no column 'split'"):
        run(catalogue, sources, cohort_table=cohorts().drop(columns="split"))


def test_study_under_two_patients_is_leakage(catalogue: TaskCatalogue, sources: LabelSourcesConfig) -> None:
    other = ct_rate()
    sources_of_dicom = manifest().assign(patient_key=[patient_key(1), *map(patient_key, range(1, N))])
    with pytest.raises(LeakageError, match="1 studies stand under two patients"):
        harmonize_all(
            {"ct_rate": other}, cohorts(), PSEUDONYMS, sources_of_dicom, EMPTY, catalogue, sources, HarmonizeConfig()
        )


def test_no_label_table_says_what_to_do(catalogue: TaskCatalogue, sources: LabelSourcesConfig) -> None:
    with pytest.raises(LabelTableError, match=r"--params=labels\.<source>=PATH"):
        run(catalogue, sources, {})
    with pytest.raises(LabelTableError, match="Unknown label source 'ct_rat'"):
        run(catalogue, sources, {"ct_rate": ct_rate(), "ct_rat": ct_rate()})


def test_report_counts_add_up(
    catalogue: TaskCatalogue, sources: LabelSourcesConfig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    result = run(catalogue, sources)
    report = harmonization_report(result, catalogue, 2)
    per_task = report[report["section"] == "task"].groupby("item")["count"].sum()
    assert (per_task == N + 1).all()
    assert len(per_task) == len(catalogue.ids)
    counts = report.set_index(["section", "item", "split", "reason"])["count"]
    assert counts["task", "emphysema", "", "1"] == 10
    assert counts["source", "ct_rate.studies", "", "without_image"] == 1
    assert counts["source", "hyperct_wide.examinations", "", "patient_without_ct"] == 1
    assert counts["split", "emphysema", "test", "positive"] == 1
    assert counts["eligibility", "eligible", "", "studies"] == N + 1
    assert counts["few_positives", "emphysema", "test", "fewer than 2"] == 1
    assert ("few_positives", "emphysema", "train", "fewer than 2") not in counts.index
    assert "One class only in hiatal_hernia: 0 positive, 20 negative" in caplog.text
    assert "Unknown in all 21 studies: medical_material, " in caplog.text


def test_flips_between_definition_sets(catalogue: TaskCatalogue, sources: LabelSourcesConfig) -> None:
    flips = run(catalogue, sources).flips.set_index("task")
    assert (flips["definition_set"] == "hyperct").all()
    assert (flips["other_set"] == "ase_2025").all()
    changes = ["zero_to_one", "one_to_zero", "known_to_unknown", "unknown_to_known"]
    assert (flips[["same", *changes]].sum(axis=1) == N + 1).all()
    assert flips.loc["emphysema", "same"] == N + 1
    # 5.5 cm of a man: neither; 5.5 cm where the sex is contradicted stays open
    assert flips.loc["ventricular_enlargement", changes].tolist() == [0, 0, 0, 0]


def test_ineligible_studies_keep_their_row_and_lose_their_labels(
    catalogue: TaskCatalogue, sources: LabelSourcesConfig
) -> None:
    table = cohorts()
    table.loc[2, "age_years"] = "17"
    young = manifest()
    young.loc[2, "age_years"] = 17.0
    young.loc[3, ["status", "reason_codes"]] = ["refused", "CONTRAST"]
    tables = {"ct_rate": ct_rate(), "hyperct_wide": hyperct_wide()}
    result = harmonize_all(
        tables, table, PSEUDONYMS, young, preprocessed().iloc[4:], catalogue, sources, HarmonizeConfig()
    )
    exclusions = result.eligibility.set_index("study_key")["exclusions"]
    assert exclusions[[study_key(2), study_key(3)]].tolist() == ["under_age", "contrast"]
    assert (exclusions != "").sum() == 2
    index = result.index.set_index("study_key")
    assert index.loc[[study_key(2), study_key(3)], list(catalogue.ids)].isna().all(axis=None)
    labels = result.labels[result.labels["study_key"] == study_key(2)]
    assert set(labels["source"]) == {"ct_rate", "hyperct_wide"}
    assert set(labels["reason"]) == {"excluded"}


def test_without_a_cohorts_table_all_studies_are_one_cohort(
    catalogue: TaskCatalogue, sources: LabelSourcesConfig, caplog: pytest.LogCaptureFixture
) -> None:
    index = run(catalogue, sources, cohort_table=EMPTY, images=False).index
    assert set(index["cohort"]) == {"development"}
    assert index["split"].isin(["train", "validation"]).all()
    assert "No cohorts table" in caplog.text


def test_official_split_of_a_source_fills_the_blank(catalogue: TaskCatalogue, sources: LabelSourcesConfig) -> None:
    table = ct_rate().assign(VolumeName=[f"valid_{k}_a_1" for k in range(N)])
    index = run(catalogue, sources, {"ct_rate": table}, cohort_table=EMPTY, images=False).index
    assert set(index["split"]) == {"validation"}


def test_echo_alone_makes_every_examination_a_study(catalogue: TaskCatalogue, sources: LabelSourcesConfig) -> None:
    tables = {"hyperct_wide": hyperct_wide().assign(test_type=["tte", "tte", "tte", "stress"])}
    result = run(catalogue, sources, tables, cohort_table=EMPTY, images=False)
    lvef = result.index["reduced_lv_systolic_function"]
    assert sorted(lvef.dropna()) == [1, 1]
    assert result.eligibility["exclusions"].value_counts().to_dict() == {"": 3, "not_resting": 1}
    again = run(catalogue, sources, tables, cohort_table=EMPTY, images=False)
    assert again.index["study_key"].tolist() == result.index["study_key"].tolist()


@pytest.mark.parametrize("dates", [["2024-02-20", "", "2024-03-02", ""], ["", "", "", ""]])
def test_an_echo_without_a_date_stays_a_study(
    dates: list[str], catalogue: TaskCatalogue, sources: LabelSourcesConfig, caplog: pytest.LogCaptureFixture
) -> None:
    tables = {"hyperct_wide": hyperct_wide().assign(echo_date=dates, patient_id=["a", "b", "c", "b"])}
    result = run(catalogue, sources, tables, cohort_table=EMPTY, images=False)
    assert result.index["study_key"].nunique() == 4
    assert result.index["study_key"].notna().all()
    assert sorted(result.index["reduced_lv_systolic_function"].dropna()) == [0, 1, 1]
    assert f"rows: {dates.count('')} date_unreadable" in caplog.text
    assert result.index.groupby("patient_key")["split"].nunique().eq(1).all()


@pytest.mark.parametrize(
    "changes", [{"ECHO_lvef_value": "", "ECHO_lv_d_measurement": ""}, {"test_type": "stress"}], ids=["blank", "stress"]
)
def test_patients_of_whom_nothing_is_known_get_splits(
    changes: dict[str, str], catalogue: TaskCatalogue, sources: LabelSourcesConfig
) -> None:
    table = hyperct_wide().assign(**changes)
    result = run(catalogue, sources, {"hyperct_wide": table}, cohort_table=EMPTY, images=False)
    assert result.index[list(catalogue.ids)].isna().all(axis=None)
    assert result.index["split"].value_counts().to_dict() == {"train": 3, "validation": 1}


def test_ids_that_look_alike_are_counted_over_all_tables(catalogue: TaskCatalogue, sources: LabelSourcesConfig) -> None:
    echo = hyperct_wide().assign(patient_id=["07", "7", "train_4", "stranger"])
    result = run(catalogue, sources, {"ct_rate": ct_rate(), "hyperct_wide": echo})
    assert result.counts["(all tables)"] == [("ids", "differ_by_zeros_or_blanks", 2)]


def test_pairing_is_counted_at_several_distances(catalogue: TaskCatalogue, sources: LabelSourcesConfig) -> None:
    pairing = run(catalogue, sources).pairing.set_index(["item", "within_days"])["studies_with_value"]
    # echoes 10 and 1 days from the CT, and one two years before
    assert [pairing["lvef", days] for days in (30, 90, 180, 365)] == [2, 2, 2, 2]


@pytest.mark.parametrize(
    ("age", "sex", "message"),
    [
        ("abc", "F", "1 rows have an age_years that is no age"),
        ("200", "F", "no age"),
        ("50", "Foo", "1 rows have an unknown sex"),
    ],
)
def test_impossible_cells_of_the_cohorts_table(
    catalogue: TaskCatalogue, sources: LabelSourcesConfig, age: str, sex: str, message: str
) -> None:
    table = cohorts()
    table.loc[0, ["age_years", "sex"]] = [age, sex]
    with pytest.raises(LabelTableError, match=message):
        run(catalogue, sources, cohort_table=table)
    table.loc[0, ["age_years", "sex", "id"]] = ["50", "F", "1.2E+9"]
    with pytest.raises(LabelTableError, match="1 ids name nobody or were cut by a spreadsheet"):
        run(catalogue, sources, cohort_table=table)


def test_flow_counts_each_step(catalogue: TaskCatalogue, sources: LabelSourcesConfig) -> None:
    result = run(catalogue, sources)
    flow = cohort_flow(result.index, catalogue, result.eligibility).set_index("cohort")
    assert flow["eligible"].tolist() == [2, 18, 1]
    assert (flow["exclusions"] == "").all()
    steps = ["found", "converted", "accepted", "preprocessed", "with_known_label", "without_image"]
    assert flow.loc["development", steps].tolist() == [18, 17, 16, 16, 16, 0]
    assert flow.loc["development", "reasons"] == "NO_USABLE_SERIES: 1, QUALITY_REJECT: 1"
    assert flow.loc["(not in cohorts table)", steps].tolist() == [1, 1, 1, 1, 0, 1]


def test_wilson_interval_matches_published_values() -> None:
    # Newcombe 1998, table I: 81 of 263 and 0 of 20
    low, high = wilson_interval(np.array([81, 0, 0]), np.array([263, 20, 0]))
    np.testing.assert_allclose(low[:2], [0.2553, 0.0], atol=5e-5)
    np.testing.assert_allclose(high[:2], [0.3662, 0.1611], atol=5e-5)
    assert np.isnan(low[2])


def test_prevalence_figure_shows_every_task_and_cohort(catalogue: TaskCatalogue, sources: LabelSourcesConfig) -> None:
    left, right = prevalence_figure(run(catalogue, sources).index, catalogue).axes
    assert len(left.get_yticklabels()) == len(catalogue.ids)
    assert [text.get_text() for text in right.get_xticklabels()] == ["A, train", "A, validation", "A, test"]
    prevalence_figure(run(catalogue, sources).index.iloc[:0], catalogue)
