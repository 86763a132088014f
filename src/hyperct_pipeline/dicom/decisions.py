"""What a person decided about single series: a list of what to leave out, a table of what to take.

Ids are original UIDs or the pseudonymous keys of series_index, one per row; anything else in the row is for people.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

import pandas as pd

from hyperct_pipeline.errors import ConfigError

logger = logging.getLogger(__name__)

ID_COLUMN = {"exclusions": "id", "overrides": "series"}


@dataclass(frozen=True)
class Decisions:
    """Ids of studies and series to leave out, and of series to take. Its text form shows none of them."""

    excluded: frozenset[str] = field(default=frozenset(), repr=False)
    taken: frozenset[str] = field(default=frozenset(), repr=False)

    def excludes(self, ids: Iterable[str]) -> bool:
        """Whether one of the names of a series or of its study is on the list of exclusions."""
        return not self.excluded.isdisjoint(map(_normal, ids))

    def takes(self, ids: Iterable[str]) -> bool:
        """Whether one of the names of a series is in the table of overrides."""
        return not self.taken.isdisjoint(map(_normal, ids))

    def named(self, ids: Iterable[str]) -> frozenset[str]:
        """Those of the ids that a list names."""
        return (self.excluded | self.taken) & frozenset(map(_normal, ids))

    def report_unknown(self, named: set[str]) -> None:
        """Log how many ids of each list were met nowhere in the archive."""
        for what, ids in (("exclusion list", self.excluded), ("override table", self.taken)):
            if unknown := len(ids - named):
                logger.warning("%d of %d ids of the %s name nothing in this archive.", unknown, len(ids), what)


def decisions_of(exclusions: pd.DataFrame, overrides: pd.DataFrame) -> Decisions:
    """Reads both tables; a table without rows and columns decides nothing.

    Args:
        exclusions: column `id` names a study or a series to leave out.
        overrides: column `series` names the series to convert of its study.

    Raises:
        ConfigError: a table lacks its column.
    """
    return Decisions(_ids(exclusions, "exclusions"), _ids(overrides, "overrides"))


def _ids(table: pd.DataFrame, name: str) -> frozenset[str]:
    column = ID_COLUMN[name]
    if table.shape == (0, 0):
        return frozenset()
    if column not in table.columns:
        raise ConfigError(f"The table '{name}' has no column '{column}'; found {len(table.columns)} other columns.")
    return frozenset(filter(None, map(_normal, table[column].astype(str))))


def _normal(text: str) -> str:
    return text.strip(" \t\r\n\0").casefold()
