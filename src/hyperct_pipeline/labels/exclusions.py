"""Studies that a findings table itself, or a list beside it, rules out."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hyperct_pipeline.labels.eligibility import UNDER_AGE, age_in_years, excluding_words
from hyperct_pipeline.labels.identifiers import hashed, study_ids
from hyperct_pipeline.labels.named_studies import NamedStudies
from hyperct_pipeline.labels.reading import Count
from hyperct_pipeline.labels.source_formats import FindingsFormat
from hyperct_pipeline.labels.tables import as_text, needed_column, optional_column
from hyperct_pipeline.pseudonyms import Pseudonyms

LISTED = "on_exclusion_list"
OF_NO_STUDY = "ids_of_no_study"


def exclusions(
    source: str,
    text: pd.DataFrame,
    named: NamedStudies,
    config: FindingsFormat,
    further: Mapping[str, pd.DataFrame],
    pseudonyms: Pseudonyms,
    min_age_years: float,
    counts: list[Count],
) -> NDArray[np.object_]:
    """Why each study is excluded, several reasons joined by ";", "" where it is not; counts are added to.

    Raises:
        LabelTableError: a column that rules studies out stands there under nearly its name.
    """
    reasons: dict[str, NDArray[np.bool_]] = {}
    for name in config.exclude_tables:
        if name in further:
            listed, strange = _listed(name, further[name], config, pseudonyms)
            reasons[LISTED] = reasons.get(LISTED, np.zeros(len(named.keys), bool)) | named.keys.isin(listed)
            counts += [(name, "id_unreadable", strange)] if strange else []
            counts += [(name, OF_NO_STUDY, int((~listed.isin(named.keys)).sum()))] if len(listed) else []
    columns = config.eligibility
    claimed = (config.id.column, *config.ignore, *columns.names)
    if (ages := optional_column(text, source, columns.age_years, claimed)) is not None:
        age, strange = age_in_years(ages)
        counts += [("age_years", "unreadable", strange)] if strange else []
        reasons[UNDER_AGE] = _any_row((age < min_age_years).fillna(False).to_numpy(bool), named)
    for reason, words in (columns.excluded_where or {}).items():
        optional_column(text, source, words.names, claimed)
        hit, strange = excluding_words(text, words)
        counts += [(reason, "unmapped_text", strange)] if strange else []
        reasons[reason] = _any_row(hit, named)
    counts += [("studies", f"excluded_{reason}", int(hit.sum())) for reason, hit in reasons.items()]
    joined = np.full(len(named.keys), "", object)
    for reason, hit in reasons.items():
        joined = joined + np.where(hit & (joined != ""), ";", "") + np.where(hit, reason, "")
    counts.append(("studies", "excluded", int((joined != "").sum())))
    return joined


def _listed(
    name: str, table: pd.DataFrame, config: FindingsFormat, pseudonyms: Pseudonyms
) -> tuple["pd.Series[str]", int]:
    """Keys of the studies on an exclusion list, and how many of its rows name none."""
    ids, _ = study_ids(needed_column(as_text(table, name), name, config.id.column), config.id)
    keys = hashed(ids["study"], pseudonyms.study_key)
    return keys.dropna().drop_duplicates(), int(keys.isna().sum())


def _any_row(hit: NDArray[np.bool_], named: NamedStudies) -> NDArray[np.bool_]:
    out = np.zeros(len(named.keys), bool)
    out[named.codes[hit[named.rows]]] = True
    return out
