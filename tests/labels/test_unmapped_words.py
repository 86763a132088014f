import numpy as np
import pandas as pd
import pytest

from hyperct_pipeline.labels.unmapped_words import unmapped_words, yaml_stub


def words(texts: list[str], patients: list[str] | None = None) -> pd.DataFrame:
    who = np.array(patients or [f"p{k}" for k in range(len(texts))], object)
    return unmapped_words("rv_function", pd.Series(texts), np.ones(len(texts), bool), who, ["low normal"])


def test_clinical_words_are_shown_and_counted() -> None:
    table = words(["See comment", "see comment", "RV paced"])
    assert table[["text", "count", "patients"]].to_numpy().tolist() == [["rv paced", 1, 1], ["see comment", 2, 2]]
    assert table["readable"].all()


def test_what_could_name_somebody_is_masked() -> None:
    table = words(["see comment Dr Doe", "call 0791234567", "born 01.02.1950", "Müller, Anna mildly reduced"])
    assert set(table["text"]) == {
        "see comment [...] [...]", "[...] [...]", "[...], [...] mildly reduced",
    }  # fmt: skip
    assert table.loc[table["text"] == "[...] [...]", "count"].item() == 2
    assert not table["readable"].any()


@pytest.mark.parametrize(
    "text",
    [
        "+49 170 123 456", "030 123 456", "123 456 789", "05/06", "12-34-56", "12-10", "12 34", "2023-05-03", "3/4/23",
        "1.2.50", "12:30", "see 05-06", "see 12-10", "see 3 4", "see 1 and 2 and 3", "007", "MRN7", "see e7", "68 mai",
    ],
)  # fmt: skip
def test_numbers_that_may_be_dates_phones_or_ids_are_masked(text: str) -> None:
    shown = words([text] * 6)["text"].item()
    assert not any(sign.isdigit() for sign in shown)


@pytest.mark.parametrize("text", ["2", "0.5", "-1", "45%", "mild 45-50 %", "see 45%", "mild lavi (34-41ml/m2)", "inf"])
def test_numbers_that_can_only_be_measurements_are_shown(text: str) -> None:
    assert words([text])["text"].item() == text.replace("m2", "m")


@pytest.mark.parametrize("text", ["Dr. Miller", "2023-05-03", "SMITH JOHN", "45 Herr Klein", "room 12 bed 7"])
def test_what_could_name_somebody_is_masked_however_many_share_it(text: str) -> None:
    table = words([text] * 50)
    assert set(table["text"].item()) <= set("[.]- ")
    assert not table["readable"].any()


def test_stub_is_yaml_of_readable_words_only() -> None:
    import yaml

    table = words(['see "comment"', "see Dr Doe", "normal for size", "normal for size"])
    stub = yaml_stub(table, {"rv_function": ("normal", "reduced")})
    assert yaml.safe_load(stub) == {"rv_function": {"words": {"normal for size": None, 'see "comment"': None}}}
    assert "# 2 times" in stub
    assert yaml_stub(table, {}) == ""
