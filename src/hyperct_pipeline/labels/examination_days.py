"""Patient and day of an examination, both keyed: dates of the hospital end here."""

import datetime
from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from hyperct_pipeline.labels.identifiers import WITHOUT_ID, patient_keys, similar, trusted
from hyperct_pipeline.labels.reading import Count
from hyperct_pipeline.labels.shown_columns import RENAMED_SIMILARITY
from hyperct_pipeline.labels.source_formats import EchoIdConfig
from hyperct_pipeline.labels.spelling import nearest_column
from hyperct_pipeline.labels.tables import needed_column
from hyperct_pipeline.pseudonyms import Pseudonyms

_EPOCH = datetime.date(1970, 1, 1)
# A time of day behind the date says nothing that pairing by day needs.
_TIME_OF_DAY = r"[ T]\d{1,2}:\d{2}.*$"


def patient_days(
    text: pd.DataFrame,
    name: str,
    ids: EchoIdConfig,
    pseudonyms: Pseudonyms,
    need_ids: bool,
    issuer: str = "",
    all_one: bool = False,
) -> tuple[pd.DataFrame, "pd.Series[str]", list[Count]]:
    """patient_key (null where blank) and day (Int64, null where unreadable), one row per row of the table.

    Args:
        text: the table.
        name: its name for messages.
        ids: its id columns.
        pseudonyms: turn ids into keys.
        need_ids: a column that is absent is an error, and a row without an id has no patient; otherwise such a row is
            of a patient of its own.
        issuer: IssuerOfPatientID of the patient ids.
        all_one: without a column of ids, all rows belong to one patient; otherwise each is a patient.

    Returns:
        The two columns; key -> key of the id without leading zeros and blanks; counts of ids that were not used.

    Raises:
        LabelTableError: a column is missing although ids are needed, or stands there under nearly its name.
    """
    counts: list[Count] = []
    similar_ids = pd.Series(dtype="str")
    if need_ids or _there(text, [ids.patient]):
        clean, counts = trusted(needed_column(text, name, ids.patient))
        patient = patient_keys(clean, pseudonyms, issuer)
        similar_ids = similar(clean, patient, partial(pseudonyms.patient_key, issuer=issuer))
        blank = text[ids.patient].eq("")
        if not need_ids and blank.any():
            counts.append(("rows", WITHOUT_ID, int(blank.sum())))
            patient = patient.mask(blank, _strangers(text, ids, patient)).astype("str")
    elif ids.exam and ids.exam in text.columns:
        # without patients, examinations are strangers to each other
        patient = text[ids.exam].where(text[ids.exam] != "").astype("str")
    else:
        patient = pd.Series(["1" if all_one else str(k) for k in range(1, len(text) + 1)], dtype="str")
    date = date_column(text, ids)
    if date is None and not need_ids and not _there(text, ids.date):
        return pd.DataFrame({"patient_key": patient, "day": pd.array([None] * len(text), "Int64")}), similar_ids, counts
    dates = needed_column(text, name, date or ids.date[0]).str.replace(_TIME_OF_DAY, "", regex=True)
    bare_format = ids.date_format.split("%H")[0].rstrip(" T")
    since_epoch = _days_since_epoch(dates, bare_format)
    # the keyed day is linear in the date: one hash per patient is enough
    codes, unique = pd.factorize(patient)
    shift = np.array([pseudonyms.day(str(key), _EPOCH) for key in unique] + [0])[codes]
    return pd.DataFrame({"patient_key": patient, "day": (since_epoch + shift).astype("Int64")}), similar_ids, counts


def _strangers(text: pd.DataFrame, ids: EchoIdConfig, patient: "pd.Series[str]") -> "pd.Series[str]":
    """Whose the rows without a patient id are: of their examination's patient, otherwise each of its own."""
    alone = pd.Series([f"(row {k})" for k in range(1, len(text) + 1)], index=text.index, dtype="str")
    if not ids.exam or ids.exam not in text.columns:
        return alone
    exam = text[ids.exam]
    of_exam = patient.groupby(exam).transform("first").fillna("(examination " + exam + ")")
    return of_exam.where(exam.ne(""), alone)


def date_column(text: pd.DataFrame, ids: EchoIdConfig) -> str | None:
    """The first of the source's date columns that the table has."""
    return next((column for column in ids.date if column in text.columns), None)


def _days_since_epoch(dates: "pd.Series[str]", date_format: str) -> "pd.Series[int]":
    codes, unique = pd.factorize(dates)
    read = pd.Series(pd.to_datetime(pd.Series(unique, dtype="str"), format=date_format, errors="coerce"))
    days = ((read - pd.Timestamp(_EPOCH)) // pd.Timedelta(days=1)).astype("Int64")
    return days.take(codes).reset_index(drop=True)


def _there(text: pd.DataFrame, names: Sequence[str]) -> bool:
    """Whether one of the columns is there, or one that was most likely renamed."""
    return any(n in text.columns or nearest_column(n, text.columns, RENAMED_SIMILARITY) for n in names)
