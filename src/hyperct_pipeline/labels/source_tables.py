"""Which of the given tables belongs to a source, and what it says; a foreign table is named for what it is."""

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd

from hyperct_pipeline.errors import LabelTableError
from hyperct_pipeline.labels.echo_table import read_echo
from hyperct_pipeline.labels.examination_days import patient_days
from hyperct_pipeline.labels.finding_cells import SEPARATOR
from hyperct_pipeline.labels.findings_table import read_findings
from hyperct_pipeline.labels.identifiers import hashed
from hyperct_pipeline.labels.reading import Reading
from hyperct_pipeline.labels.source_formats import (
    EchoFormat,
    EchoIdConfig,
    EchoLong,
    EchoWide,
    FindingsByLocation,
    FindingsFormat,
    FindingsWide,
    extra_tables,
)
from hyperct_pipeline.labels.sources import LabelSourcesConfig
from hyperct_pipeline.labels.spelling import letters
from hyperct_pipeline.labels.splits import refuse_two_patients
from hyperct_pipeline.labels.tables import as_text, column_names
from hyperct_pipeline.labels.tasks import TaskCatalogue
from hyperct_pipeline.pseudonyms import Pseudonyms

CT_IDS = EchoIdConfig(patient="patient_id", date=("date",))
CT_STUDY = "study_id"
_CELL = re.compile(r"\d[\d\s.,:/T-]*")  # a number or a date in place of a name


def read_source(
    source: str,
    tables: Mapping[str, pd.DataFrame],
    sources: LabelSourcesConfig,
    catalogue: TaskCatalogue,
    pseudonyms: Pseudonyms,
    need_ids: bool = True,
    min_age_years: float = 18,
) -> Reading:
    """Read the table of one source out of all tables given; arguments as for `read_findings`.

    Raises:
        LabelTableError: there is no table for it, the table is one of another source, or lacks a needed column.
        LeakageError: a study or examination stands under two patients.
    """
    config = sources.of(source)
    own = {name: table for name, table in tables.items() if name not in extra_tables(config)}
    if source not in own and len(own) != 1:
        raise LabelTableError(f"No table for the source '{source}': found {sorted(own) or 'none'}.")
    table = own[source] if source in own else next(iter(own.values()))
    _refuse_foreign(source, table, sources, catalogue)
    if isinstance(config, EchoWide | EchoLong):
        return read_echo(source, table, config, catalogue, pseudonyms, need_ids)
    further = {name: tables[name] for name in extra_tables(config) if name in tables}
    return read_findings(source, table, config, catalogue, pseudonyms, further, need_ids, min_age_years)


def ct_studies(
    table: pd.DataFrame, name: str, pseudonyms: Pseudonyms, issuer: str
) -> tuple[pd.DataFrame, "pd.Series[str]"]:
    """patient_key and day of every CT, and key -> key of the id without leading zeros and blanks.

    Raises:
        LabelTableError: a needed column is missing.
        LeakageError: a study stands under two patients.
    """
    text = as_text(table, name)
    studies, similar_ids, _ = patient_days(text, name, CT_IDS, pseudonyms, need_ids=True, issuer=issuer)
    if CT_STUDY in text.columns:
        studies = studies.assign(study_key=hashed(text[CT_STUDY], pseudonyms.study_key))
        refuse_two_patients(studies)
        studies = studies[~(studies["study_key"].duplicated() & studies["study_key"].notna())].reset_index(drop=True)
    return studies, similar_ids


def _refuse_foreign(source: str, table: pd.DataFrame, sources: LabelSourcesConfig, catalogue: TaskCatalogue) -> None:
    """Stop where the table has nothing of its own source and is plainly one of another."""
    names = column_names(table, source)
    found = {name: _recognised(table, names, config, catalogue) for name, config in sources.sources.items()}
    if found[source]:
        return
    if cells := sum(1 for name in names if _CELL.fullmatch(name)):
        raise LabelTableError(
            f"The table given as source '{source}' has none of its columns, and {cells} of its {len(names)} names of "
            "columns are numbers or dates: the header line is missing. Export it again with one."
        )
    best = max(found, key=lambda name: found[name])
    if found[best]:
        same = [name for name, count in found.items() if count == found[best]]
        raise LabelTableError(
            f"The table given as source '{source}' has none of its columns, but {found[best]} of source "
            f"{' or '.join(repr(name) for name in same)}. Give it as `labels.{same[0]}=PATH`."
        )


def _recognised(
    table: pd.DataFrame, given: list[str], config: FindingsFormat | EchoFormat, catalogue: TaskCatalogue
) -> int:
    """How many columns (of a long table: measurements) hold something that the source declares."""
    columns = set(given)
    if isinstance(config, FindingsByLocation):
        words = {word for entry in config.findings.values() for word in entry.of}
        return sum(1 for column in columns if SEPARATOR in column and column.split(SEPARATOR)[0].lower() in words)
    if isinstance(config, FindingsWide):
        if config.columns == "auto":
            return sum(1 for column in columns if letters(column) in catalogue.known_findings)
        return len(columns & set(config.columns))
    names = {name for column in config.columns.values() for name in (*column.names, *(column.range or ()))}
    if isinstance(config, EchoLong):
        if not {config.measurement, config.result} <= columns:
            return 0
        measured = as_text(table.iloc[:, [given.index(config.measurement)]], config.measurement).iloc[:, 0]
        return int(np.isin(measured.str.lower().unique(), [name.lower() for name in names]).sum())
    return len(columns & names)
