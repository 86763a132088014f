"""A table of radiological findings to one pseudonymous row per study."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from hyperct_pipeline.labels.exclusions import exclusions
from hyperct_pipeline.labels.finding_cells import Cells, auto_columns, columns_of, located_cells
from hyperct_pipeline.labels.identifiers import hashed, similar
from hyperct_pipeline.labels.intervals import Intervals, Reason, agreed
from hyperct_pipeline.labels.named_studies import NamedStudies, named_studies, study_rows
from hyperct_pipeline.labels.reading import Count, Reading, unusable
from hyperct_pipeline.labels.source_formats import FindingsByLocation, FindingsFormat
from hyperct_pipeline.labels.tables import as_text
from hyperct_pipeline.labels.tasks import TaskCatalogue
from hyperct_pipeline.labels.unmapped_words import all_words, unmapped_words
from hyperct_pipeline.pseudonyms import Pseudonyms


def read_findings(
    source: str,
    table: pd.DataFrame,
    config: FindingsFormat,
    catalogue: TaskCatalogue,
    pseudonyms: Pseudonyms,
    further: Mapping[str, pd.DataFrame] | None = None,
    need_ids: bool = True,
    min_age_years: float = 18,
) -> Reading:
    """One row per study; reconstructions and doubled rows must agree, else unknown (`source_conflict`).

    Args:
        source: its name.
        table: one row per study or reconstruction.
        config: how the table is written.
        catalogue: which findings are wanted.
        pseudonyms: turn ids into keys.
        further: tables that the source reads beside its own (`extra_tables`), by name; each may be absent.
        need_ids: an id column that is absent is an error; otherwise rows are numbered.
        min_age_years: studies of younger patients are excluded.

    Raises:
        LabelTableError: a needed column is missing, renamed or doubled.
        LeakageError: a study stands under two patients.
    """
    text, given = as_text(table, source), further or {}
    named, counts = named_studies(source, text, config, given, pseudonyms, need_ids)
    rows = study_rows(source, named, config, pseudonyms)
    exclusion = exclusions(source, text, named, config, given, pseudonyms, min_age_years, counts)
    values, words = {}, []
    cells, strange = _cells(source, text, config, catalogue)
    counts += strange
    who = (rows["patient_key"].fillna(rows["study_key"])).to_numpy(object)[named.codes]
    vocabulary = (*config.present, *config.absent, *config.unknown)
    for finding, columns in cells.items():
        values[finding] = _of_studies(columns, named).because(exclusion != "", Reason.EXCLUDED)
        for column in columns:
            words.append(unmapped_words(finding, column.cells[named.rows], column.strange[named.rows], who, vocabulary))
    graded = config.findings if isinstance(config, FindingsByLocation) else {}
    counts += [(f, f"match_{graded[f].match}", int(values[f].has_value.sum())) for f in values if f in graded]
    return Reading(
        source, rows.assign(excluded=exclusion != "", exclusion=exclusion), values, (*counts, *unusable(values)),
        all_words(words),
        similar_ids=similar(named.ids["study"], hashed(named.ids["study"], pseudonyms.study_key), pseudonyms.study_key),
    )  # fmt: skip


def _cells(
    source: str, text: pd.DataFrame, config: FindingsFormat, catalogue: TaskCatalogue
) -> tuple[Mapping[str, list[Cells]], list[Count]]:
    if isinstance(config, FindingsByLocation):
        return located_cells(text, source, config, catalogue)
    columns = columns_of(text, source, config, catalogue, auto_columns(text, config))
    return {finding: [Cells.of(text[name], config) for name in names] for finding, names in columns.items()}, []


def _of_studies(columns: list[Cells], named: NamedStudies) -> Intervals:
    """One finding, of which all columns that name it must agree."""
    read = [column.of_studies(named.rows, named.codes, len(named.keys)) for column in columns]
    # a study whose rows contradict each other in one column is not decided by another column
    contradicted = np.any([one.reason == Reason.SOURCE_CONFLICT for one in read], axis=0)
    return agreed(read, 0.0).because(contradicted, Reason.SOURCE_CONFLICT)
