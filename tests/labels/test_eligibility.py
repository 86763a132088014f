import pandas as pd
import pytest

from hyperct_pipeline.labels.eligibility import EligibilityConfig, age_in_years, eligibility_table


def test_ages_as_hospitals_write_them() -> None:
    years, unreadable = age_in_years(pd.Series(["17", "017Y", "11M", "26W", "45 years", "97", "", "abc", "-3", "200"]))
    assert years[:6].round(2).tolist() == [17, 17, 0.92, 0.5, 45, 90]
    assert years[6:].isna().all()
    assert unreadable == 3


def test_each_exclusion_has_its_reason() -> None:
    studies = pd.DataFrame(
        {
            "study_key": list("abcdef"),
            "patient_key": list("uvwxyz"),
            "cohort": "development",
            "status": ["ready", "refused", "refused", "ready", "ready", "refused"],
            "reason": ["", "NO_USABLE_SERIES;CONTRAST", "NOT_CHEST", "CONTRAST", "", "MISSING_SLICE"],
            "age_years": pd.array([17.9, 40, 12, 18, None, 50], "Float64"),
            "exclusion": ["", "", "", "", "on_exclusion_list", ""],
        }
    )
    table = eligibility_table(studies, EligibilityConfig())
    # a study that was converted is no contrast scan, and a damaged one is eligible: its labels are true
    assert table["exclusions"].tolist() == [
        "under_age", "contrast", "not_chest;under_age", "", "on_exclusion_list", "",
    ]  # fmt: skip
    assert table["eligible"].tolist() == [False, False, False, True, False, True]
    assert eligibility_table(studies, EligibilityConfig(min_age_years=10))["eligible"].tolist()[0] is True


def test_unknown_key_is_refused() -> None:
    with pytest.raises(ValueError, match="min_age"):
        EligibilityConfig(min_age=3)  # type: ignore[call-arg]
