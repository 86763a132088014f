"""Whether the tables and the archive speak of the same studies: a join of nothing must not pass in silence."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from hyperct_pipeline.errors import LabelTableError
from hyperct_pipeline.labels.reading import Count, Reading
from hyperct_pipeline.labels.source_formats import EchoLong, EchoWide
from hyperct_pipeline.labels.sources import LabelSourcesConfig
from hyperct_pipeline.labels.statements import Statement

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Join:
    """What became of one source's table."""

    rows: int  # of the table
    studies: int  # of the archive that the table speaks of


def check_joins(joins: Mapping[str, Join], n_archive: int, sources: LabelSourcesConfig) -> None:
    """Warn of each source that speaks of no study of the archive, and stop where none does.

    Args:
        joins: source -> its join.
        n_archive: studies in the image archive; without any there is nothing to join.
        sources: formats, to name the settings that decide the join.

    Raises:
        LabelTableError: no source speaks of any study of the archive.
    """
    if not n_archive:
        return
    silent = {
        name: f"source '{name}': its {join.rows} rows match none of the {n_archive} studies of the archive; "
        f"check {_remedy(name, sources)} (parameters_sources.yml)"
        for name, join in joins.items()
        if join.rows and not join.studies
    }
    if silent and not any(join.studies for join in joins.values()):
        listed = "\n  ".join(silent.values())
        raise LabelTableError(f"No label table belongs to the image archive:\n  {listed}")
    for message in silent.values():
        logger.warning("Label %s", message)


def check_statements(studies: pd.DataFrame, stated: Sequence[Statement], sources: LabelSourcesConfig) -> None:
    """`check_joins` of what each source says of the studies (study_key, status)."""
    in_archive = (studies["status"] != "no_image").to_numpy(bool)
    joins = {s.reading.source: Join(_rows_in(s.reading), int((s.said & in_archive).sum())) for s in stated}
    check_joins(joins, int(in_archive.sum()), sources)


def _rows_in(reading: Reading) -> int:
    return sum(count for item, reason, count in reading.counts if (item, reason) == ("rows", "in"))


def joined(statement: Statement, studies: pd.DataFrame) -> list[Count]:
    """How much of a source's table found its study."""
    if "accession_key" in statement.reading.rows.columns:
        alone = int((studies["status"].to_numpy(object)[statement.said] == "no_image").sum())
        return [("studies", "matched", int(statement.said.sum()) - alone), ("studies", "without_image", alone)]
    known = statement.reading.rows["patient_key"].isin(studies["patient_key"])
    return [("examinations", "matched", int(known.sum())), ("examinations", "patient_without_ct", int((~known).sum()))]


def _remedy(name: str, sources: LabelSourcesConfig) -> str:
    source = sources.of(name)
    issuer = f"issuer (IssuerOfPatientID of its patient ids, now '{source.issuer}')"
    if isinstance(source, EchoWide | EchoLong):
        return f"id.patient (now column '{source.id.patient}') and {issuer}"
    return f"id.type (now {source.id.type}) and id.pattern"
