"""Sex and age that several tables state: kept where they agree, unknown where they contradict each other."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

# How far ages may lie apart without a conflict: a cohorts table states one age for all studies of a patient.
AGE_TOLERANCE_YEARS = 2.0


def agreed_sex(*stated: "pd.Series[str]") -> "pd.Series[str]":
    """F or M where at least one says so and none contradicts, otherwise null."""
    female, male = (np.any([(s == sex).fillna(False).to_numpy(bool) for s in stated], axis=0) for sex in ("F", "M"))
    named = np.where(female, "F", "M").astype(object)
    return pd.Series(named, dtype="str").where(female != male)


def sex_conflicts(*stated: "pd.Series[str]") -> NDArray[np.bool_]:
    """Where one says F and another M, shape (n,)."""
    female, male = (np.any([(s == sex).fillna(False).to_numpy(bool) for s in stated], axis=0) for sex in ("F", "M"))
    return np.asarray(female & male)


def agreed_age(*stated: "pd.Series[float]") -> "pd.Series[float]":
    """The first age stated, null where two lie more than `AGE_TOLERANCE_YEARS` apart."""
    ages = np.stack([s.to_numpy(np.float64, na_value=np.nan) for s in stated])
    first = ages[-1]
    for earlier in ages[-2::-1]:
        first = np.where(np.isnan(earlier), first, earlier)
    spread = np.fmax.reduce(ages) - np.fmin.reduce(ages)
    return pd.Series(np.where(spread > AGE_TOLERANCE_YEARS, np.nan, first)).astype("Float64")
