"""Ids that differ only by leading zeros or blanks: most likely one patient, spelled differently by two systems.

They are never joined, because guessing would give one patient the labels of another; they are counted.
"""

import logging
from collections.abc import Sequence

import pandas as pd

logger = logging.getLogger(__name__)


def count_similar_ids(tables: Sequence["pd.Series[str]"]) -> int:
    """How many ids have a twin, over all tables.

    Args:
        tables: per table, key -> key of the id without leading zeros and blanks.
    """
    filled = [one for one in tables if len(one)]
    if not filled:
        return 0
    together = pd.concat(filled)
    together = together[~together.index.duplicated()]
    return int(together.duplicated(keep=False).sum())


def warn_of_similar_ids(tables: Sequence["pd.Series[str]"]) -> int:
    """Warn of them, and return how many there are."""
    count = count_similar_ids(tables)
    if count:
        logger.warning(
            "%d ids differ from another one only by leading zeros or blanks; they are kept apart. If they are the same "
            "patients or studies, write their ids alike in all tables.",
            count,
        )
    return count
