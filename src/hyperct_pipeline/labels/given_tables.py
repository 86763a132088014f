"""The label tables that a run was given, each read by its source's format."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from hyperct_pipeline.errors import LabelTableError
from hyperct_pipeline.labels.exclusions import OF_NO_STUDY
from hyperct_pipeline.labels.reading import Count, Reading, warn_of
from hyperct_pipeline.labels.source_tables import read_source
from hyperct_pipeline.labels.sources import LabelSourcesConfig
from hyperct_pipeline.labels.tasks import TaskCatalogue
from hyperct_pipeline.pseudonyms import Pseudonyms


def read_given(
    tables: Mapping[str, pd.DataFrame],
    catalogue: TaskCatalogue,
    sources: LabelSourcesConfig,
    pseudonyms: Pseudonyms,
    min_age_years: float,
) -> list[Reading]:
    """What each given table says, in the order of the tables; what it holds that cannot be used is warned of.

    Args:
        tables: source name (or name of a table that a source reads besides) -> raw table.
        catalogue: tasks, checked.
        sources: formats, checked.
        pseudonyms: turn the tables' ids into keys.
        min_age_years: younger patients do not count.

    Raises:
        LabelTableError: no table, an unknown source, or a table lacks what its source declares.
    """
    _refuse_nothing(tables, sources)
    own = [name for name in tables if name not in sources.extra_tables]
    further = {name: table for name, table in tables.items() if name in sources.extra_tables}
    readings = [
        read_source(name, {**further, name: tables[name]}, sources, catalogue, pseudonyms, min_age_years=min_age_years)
        for name in own
    ]
    readings = _count_listed_once(readings)
    for reading in readings:
        warn_of(reading)
    return readings


def _refuse_nothing(tables: Mapping[str, pd.DataFrame], sources: LabelSourcesConfig) -> None:
    if not set(tables) & set(sources.sources):
        unknown = f" (found: {', '.join(map(str, tables))})" if tables else ""
        raise LabelTableError(
            f"No label table was given{unknown}. Name at least one with `--params=labels.<source>=PATH`; sources "
            f"(parameters_sources.yml): {', '.join(sources.sources)}."
        )


def _count_listed_once(readings: Sequence[Reading]) -> list[Reading]:
    """Ids of an exclusion list that name no study are those that the source which knows most of them does not know."""
    least: dict[str, int] = {}
    for reading in readings:
        for item, reason, count in reading.counts:
            if reason == OF_NO_STUDY:
                least[item] = min(count, least.get(item, count))

    def kept(entry: Count) -> bool:
        # the first source with that count keeps it
        return entry[1] != OF_NO_STUDY or (entry[2] == least.get(entry[0]) and least.pop(entry[0]) is not None)

    return [replace(reading, counts=tuple(entry for entry in reading.counts if kept(entry))) for reading in readings]
