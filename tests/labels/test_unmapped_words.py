import numpy as np
import pandas as pd

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


def test_a_text_of_five_patients_is_a_habit_not_a_person() -> None:
    text = "leicht eingeschränkt"
    assert words([text] * 5)["text"].tolist() == [text]
    assert not words([text] * 5, ["p", "p", "q", "r", "s"])["readable"].any()


def test_stub_is_yaml_of_readable_words_only() -> None:
    import yaml

    table = words(['see "comment"', "see Dr Doe", "normal for size", "normal for size"])
    stub = yaml_stub(table, {"rv_function": ("normal", "reduced")})
    assert yaml.safe_load(stub) == {"rv_function": {"words": {"normal for size": None, 'see "comment"': None}}}
    assert "# 2 times" in stub
    assert yaml_stub(table, {}) == ""
