"""No cell that we write is run by a spreadsheet; numbers stay numbers."""

from pathlib import Path

import pandas as pd

from hyperct_pipeline.harmless_csv import harmless, restored, write_csv


def test_formulas_become_text_and_numbers_stay(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "text": ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "plain", "-5", "+4.5", "-1e-3", None],
            "number": [-5.0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        }
    )
    safe = harmless(table)
    assert safe["text"].tolist()[:9] == [
        "'=cmd|' /C calc'!A0", "'+1+1", "'-2+3", "'@SUM(A1)", "'\t=1", "plain", "-5", "+4.5", "-1e-3",
    ]  # fmt: skip
    assert pd.isna(safe["text"].iloc[9])
    assert safe["number"].equals(table["number"])
    write_csv(table, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text().splitlines()[9] == "-1e-3,8.0"


def test_a_number_with_its_interval_is_no_formula() -> None:
    numbers = ["-0.02 (-0.05 to 0.01)", "-0.02 (interval undefined)", "-0.01 / -0.03", "-0.02 (-0.05 to 0.01) / -0.1"]
    formulas = ["-2 (1 to 2)+cmd|' /C calc'!A0", "-1 (=1 to 2)", "-1 / -2 / -3", "-1 / =2"]
    safe = harmless(pd.DataFrame({"a": [*numbers, *formulas]}))["a"].tolist()
    assert safe == [*numbers, *("'" + cell for cell in formulas)]


def test_column_names_are_harmless_too() -> None:
    assert list(harmless(pd.DataFrame({"=1": ["a"], "b": ["=2"]})).columns) == ["'=1", "b"]


def test_every_text_is_restored() -> None:
    texts = ["=1", "'=1", "''=1", "-5", "'-5", "'", "''", "'a", "@", "\t", "", "+x", "'+x", None]
    table = pd.DataFrame({"=t": texts, "n": range(len(texts))})
    back = restored(harmless(table))
    pd.testing.assert_frame_equal(back, table)
    assert harmless(table)["'=t"].nunique() == len(texts) - 1
