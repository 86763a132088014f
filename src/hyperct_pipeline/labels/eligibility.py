"""Which studies count at all, apart from what their labels are; each exclusion has its reason."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from hyperct_pipeline.labels.source_formats import WordsColumn
from hyperct_pipeline.pseudonyms import OLDEST_AGE_YEARS

UNDER_AGE = "under_age"
OLDEST_PLAUSIBLE_YEARS = 130.0
ELIGIBILITY_COLUMNS = ("study_key", "patient_key", "cohort", "eligible", "exclusions")
# Reason codes of the conversion that say: this examination is none of ours.
OF_CONVERSION: Mapping[str, str] = {"CONTRAST": "contrast", "NOT_CHEST": "not_chest", "EXCLUDED": "on_exclusion_list"}
_AGE = r"(\d{1,3}(?:\.\d+)?)\s*([ymwd]?)(?:ears?|rs?|onths?|eeks?|ays?)?"
_PER_YEAR = {"": 1.0, "y": 1.0, "m": 12.0, "w": 52.18, "d": 365.25}


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class EligibilityConfig:
    """Who takes part."""

    min_age_years: float = 18.0  # younger patients are excluded; an unknown age is not


def age_in_years(texts: "pd.Series[str]") -> tuple["pd.Series[float]", int]:
    """Ages written as "17", "017Y", "11M" (DICOM) or "17 years": years (Float64), and how many are unreadable.

    Ages above 89 become 90 everywhere.
    """
    parts = texts.str.lower().str.strip().str.extract(f"^{_AGE}$")
    years = pd.to_numeric(parts[0], errors="coerce") / parts[1].fillna("").map(_PER_YEAR)
    years = years.where(years.between(0, OLDEST_PLAUSIBLE_YEARS))
    unreadable = int((years.isna() & ~texts.str.lower().isin(["", "nan", "na", "n/a", "none", "unknown"])).sum())
    return years.astype("Float64").clip(upper=OLDEST_AGE_YEARS), unreadable


def excluding_words(text: pd.DataFrame, columns: WordsColumn) -> tuple[NDArray[np.bool_], int]:
    """Rows in which one of the columns holds one of the words, shape (n,), and how many cells hold an unknown word."""
    hit, strange = np.zeros(len(text), bool), 0
    for name in columns.names:
        if name in text.columns:
            word = text[name].str.lower().str.replace(r"^(-?\d+)\.0+$", r"\1", regex=True)
            hit |= word.isin(columns.words).to_numpy()
            strange += int((~word.isin([*columns.words, *columns.other_words])).sum())
    return hit, strange


def eligibility_table(studies: pd.DataFrame, config: EligibilityConfig) -> pd.DataFrame:
    """One row per study, columns `ELIGIBILITY_COLUMNS`; exclusions: reasons joined by ";", "" where eligible.

    Args:
        studies: study_key, patient_key, cohort, status and reason (of the conversion), age_years, exclusion (what the
            label tables say).
        config: the limits.
    """
    refused = studies["status"].isin(["refused"]).to_numpy()
    codes = studies["reason"].fillna("").str.split(";")
    under = (studies["age_years"] < config.min_age_years).fillna(False).to_numpy(bool)
    said = studies["exclusion"].fillna("").str.split(";")
    reasons = []
    for stated, of_conversion, no_volume, young in zip(said, codes, refused, under, strict=True):
        found = {word: None for word in stated if word}
        found |= {OF_CONVERSION[code]: None for code in of_conversion if no_volume and code in OF_CONVERSION}
        found |= {UNDER_AGE: None} if young else {}
        reasons.append(";".join(sorted(found)))
    table = studies[["study_key", "patient_key", "cohort"]].reset_index(drop=True)
    exclusions = pd.Series(reasons, dtype="str")
    return table.assign(eligible=(exclusions == "").to_numpy(bool), exclusions=exclusions)[list(ELIGIBILITY_COLUMNS)]
