"""Identifiers of a table: which can be trusted, and their keys. Ids end here; only keys go on."""

import re
from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd

from hyperct_pipeline.labels.reading import Count
from hyperct_pipeline.labels.source_formats import StudyIdConfig
from hyperct_pipeline.pseudonyms import Pseudonyms

# 1.23457E+12: a spreadsheet cut the digits off, and many ids became one.
_CUT = r"[+-]?\d+(?:[.,]\d+)?e[+-]?\d+"
_ERROR_CELL = r"#(?:ref!?|n/?a|value!|div/0!|name\?|num!|null!|spill!|calc!|#+)"
_NOBODY = r"nan|none|null|na|n/a|<na>|unknown|missing|inf|-|\.|\?|0+"
_UNUSABLE = {
    "id_cut_by_spreadsheet": re.compile(_CUT, re.IGNORECASE),
    "id_spreadsheet_error": re.compile(_ERROR_CELL, re.IGNORECASE),
    "id_names_nobody": re.compile(_NOBODY, re.IGNORECASE),
}
WRITTEN_AS_DECIMAL = "id_written_as_decimal"
WITHOUT_ID = "id_blank_taken_as_own_study"
# Counts of rows that are used all the same.
USED_ALL_THE_SAME = (WRITTEN_AS_DECIMAL, WITHOUT_ID)
_DECIMAL = r"^(\d+)\.0+$"


def trusted(ids: "pd.Series[str]") -> tuple["pd.Series[str]", list[Count]]:
    """Ids with "" where one cannot be trusted to name one patient or study, and counts of why.

    "123.0" is read as 123, because a column of whole numbers with gaps is written so.
    """
    codes, unique = pd.factorize(ids.str.strip())
    names = pd.Series(unique, dtype="str")
    decimal = names.str.fullmatch(_DECIMAL).to_numpy(bool)
    names = names.str.replace(_DECIMAL, r"\1", regex=True)
    counts: list[Count] = [("rows", WRITTEN_AS_DECIMAL, int(decimal[codes].sum()))] if decimal.any() else []
    for reason, pattern in _UNUSABLE.items():
        bad = names.str.fullmatch(pattern).to_numpy(bool)
        if bad.any():
            counts.append(("rows", reason, int(bad[codes].sum())))
            names = names.mask(bad, "")
    return pd.Series(names.to_numpy(object)[codes], index=ids.index, dtype="str"), counts


def hashed(texts: "pd.Series[str]", key: Callable[[str], str]) -> "pd.Series[str]":
    """Each text as its key, null where blank; every distinct text is hashed once."""
    codes, unique = pd.factorize(texts.str.strip(" \t\r\n\0"))
    keys = pd.array([key(str(text)) if text else None for text in unique], dtype="str")
    # code -1 is a missing text
    return pd.Series(keys.take(np.asarray(codes), allow_fill=True), index=texts.index, dtype="str")


def patient_keys(ids: "pd.Series[str]", pseudonyms: Pseudonyms, issuer: str = "") -> "pd.Series[str]":
    """Key of each patient id, null where blank."""
    return hashed(ids, partial(pseudonyms.patient_key, issuer=issuer))


def similar(ids: "pd.Series[str]", keys: "pd.Series[str]", key: Callable[[str], str]) -> "pd.Series[str]":
    """Key -> key of the id without leading zeros and inner blanks, one entry per key.

    Args:
        ids: texts.
        keys: their keys, null where blank.
        key: what made the keys.
    """
    one = pd.DataFrame({"key": keys.to_numpy(object), "id": ids.to_numpy(object)}).dropna().drop_duplicates("key")
    bare = one["id"].astype("str").str.replace(r"\s+", "", regex=True).str.replace(r"^0+(?=.)", "", regex=True)
    changed = (bare != one["id"]).to_numpy(bool)
    loose = one["key"].to_numpy(object).copy()
    loose[changed] = hashed(bare[changed], key).to_numpy(object)
    return pd.Series(loose, one["key"].to_numpy(object), dtype="str")


def study_ids(names: "pd.Series[str]", config: StudyIdConfig) -> tuple[pd.DataFrame, list[Count]]:
    """Columns study, patient and split, "" where the name does not have the expected form or says nothing."""
    clean, counts = trusted(names)
    if config.pattern is None:
        return pd.DataFrame({"study": clean, "patient": "", "split": ""}), counts
    parts = clean.str.extract(re.compile(config.pattern)).reindex(columns=["study", "patient", "split"])
    parts = parts.fillna("").astype("str")
    unreadable = int((parts["study"].eq("") & clean.ne("")).sum())
    return parts, [*counts, ("rows", "id_of_another_form", unreadable)]
