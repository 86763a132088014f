import numpy as np
import pandas as pd
import pytest

from hyperct_pipeline.errors import LeakageError
from hyperct_pipeline.labels.splits import SplitConfig, assign_splits, split_assignments


def population(n_patients: int = 300, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two studies of every third patient, two official splits, a test cohort, four tasks of which one is unknown."""
    generator = np.random.default_rng(seed)
    patients = np.sort(np.concatenate([np.arange(n_patients), np.arange(0, n_patients, 3)]))
    studies = pd.DataFrame({"study_key": [f"s{k}" for k in range(len(patients))]}, dtype="str")
    studies["patient_key"] = pd.Series([f"p{p:04d}" for p in patients], dtype="str")
    studies["cohort"] = np.where(patients % 5 == 0, "internal_test", "development")
    groups = [patients % 5 == 0, patients % 7 == 1, patients % 11 == 2]
    official = np.select(groups, ["test", "train", "validation"], "")
    studies["split"] = pd.Series(official, dtype="str").mask(official == "", None)
    positive = generator.random((len(patients), 4)) < [0.5, 0.2, 0.1, 0.0]
    labels = pd.DataFrame(positive, columns=list("abcd")).astype("Int8")
    labels = labels.mask(generator.random(labels.shape) < 0.1)
    labels["d"] = pd.array([None] * len(labels), dtype="Int8")
    return studies, labels


def test_patients_stay_together_and_official_splits_stand() -> None:
    studies, labels = population()
    split = assign_splits(studies, labels, SplitConfig())
    assert split.notna().all()
    assert split.groupby(studies["patient_key"]).nunique().max() == 1
    official = studies["split"].notna()
    assert (split[official] == studies["split"][official]).all()


def test_validation_has_its_share_of_every_label() -> None:
    studies, labels = population(1500)
    studies["split"] = studies["split"].where(studies["split"] == "test")
    split = assign_splits(studies, labels, SplitConfig(validation_fraction=0.2))
    inside = (split == "validation")[studies["cohort"] == "development"]
    assert inside.mean() == pytest.approx(0.2, abs=0.02)
    for task in "abc":
        positive = labels[task].eq(1)[studies["cohort"] == "development"].fillna(False)
        assert inside[positive].mean() == pytest.approx(0.2, abs=0.04)


def test_same_seed_same_splits_in_any_order() -> None:
    studies, labels = population()
    first = assign_splits(studies, labels, SplitConfig())
    order = np.random.default_rng(1).permutation(len(studies))
    again = assign_splits(studies.iloc[order], labels.iloc[order], SplitConfig())
    assert again.sort_index().equals(first)
    assert not assign_splits(studies, labels, SplitConfig(seed=1)).equals(first)


def test_other_cohorts_and_unknown_patients_get_no_split() -> None:
    studies, labels = population()
    studies["split"] = studies["split"].mask(studies["split"] == "test")
    studies["patient_key"] = studies["patient_key"].mask(studies["patient_key"] == "p0001")
    split = assign_splits(studies, labels, SplitConfig())
    assert split[studies["cohort"] == "internal_test"].isna().all()
    assert split[studies["patient_key"].isna()].isna().all()


def test_patient_in_two_splits_is_an_error_naming_key_and_splits() -> None:
    studies, labels = population()
    studies.loc[studies["study_key"] == "s0", "split"] = "train"
    with pytest.raises(LeakageError, match=r"1 patients stand in two splits: p0000 in test and train"):
        assign_splits(studies, labels, SplitConfig())


def test_study_under_two_patients_is_an_error_naming_both() -> None:
    studies, labels = population()
    studies.loc[3, "study_key"] = "s0"
    with pytest.raises(LeakageError, match=r"1 studies stand under two patients: s0 under p0000 and p\d+"):
        assign_splits(studies, labels, SplitConfig())


def test_one_open_patient_and_no_labels_at_all() -> None:
    studies = pd.DataFrame({"study_key": ["s"], "patient_key": ["p"], "cohort": ["development"], "split": [None]})
    labels = pd.DataFrame({"a": pd.array([None], dtype="Int8")})
    assert assign_splits(studies.astype({"split": "str"}), labels, SplitConfig()).tolist() == ["train"]


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_fraction_that_leaves_one_side_empty_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="validation_fraction"):
        SplitConfig(validation_fraction=fraction)


def test_old_assignments_stay_when_new_patients_arrive() -> None:
    studies, labels = population(400)
    early = studies["patient_key"] < "p0300"
    config = SplitConfig()
    first = studies[early].assign(split=assign_splits(studies[early], labels[early], config))
    kept = split_assignments(first, config)
    assert list(kept.columns) == ["patient_key", "split", "seed", "validation_fraction"]
    again = assign_splits(studies, labels, config, kept)
    assert again[early].equals(first["split"])
    # the newcomers fill validation up to its share of all
    divided = studies["cohort"] == "development"
    share = studies[divided].assign(s=again).drop_duplicates("patient_key")["s"].eq("validation").mean()
    assert share == pytest.approx(config.validation_fraction, abs=0.01)
    assert (again[divided & ~early] == "validation").any()


def test_other_settings_divide_anew_and_official_splits_go_first() -> None:
    studies, labels = population()
    config = SplitConfig()
    kept = split_assignments(studies.assign(split=assign_splits(studies, labels, config)), config)
    other = SplitConfig(seed=1)
    assert assign_splits(studies, labels, other, kept).equals(assign_splits(studies, labels, other))
    moved = kept.assign(split="validation")
    split = assign_splits(studies, labels, config, moved)
    official = studies["split"].notna()
    assert (split[official] == studies["split"][official]).all()
    assert (split[~official] == "validation").all()


def test_a_patient_who_was_away_for_one_run_comes_back_to_his_split() -> None:
    studies, labels = population(200)
    config, few = SplitConfig(), studies["patient_key"] < "p0040"
    first = studies.assign(split=assign_splits(studies, labels, config))
    kept = split_assignments(first, config)
    second = studies[few].assign(split=assign_splits(studies[few], labels[few], config, kept))
    kept = split_assignments(second, config, kept)
    other = SplitConfig(seed=1)
    third = studies.assign(split=assign_splits(studies, labels, other, kept))
    kept = split_assignments(third, other, kept)
    assert assign_splits(studies, labels, config, kept).equals(first["split"])
    assert assign_splits(studies, labels, other, kept).equals(third["split"])
    assert not kept.duplicated(["patient_key", "seed", "validation_fraction"]).any()


def test_patients_without_any_known_label_are_divided_too() -> None:
    studies = pd.DataFrame({"study_key": list("abcdef"), "patient_key": list("uvwxyz"), "cohort": "development"})
    studies["split"] = pd.Series([None] * 6, dtype="str")
    labels = pd.DataFrame({"a": pd.array([None] * 6, dtype="Int8")})
    split = assign_splits(studies, labels, SplitConfig(validation_fraction=0.34))
    assert split.value_counts().to_dict() == {"train": 4, "validation": 2}
    assert split.equals(assign_splits(studies, labels, SplitConfig(validation_fraction=0.34)))
