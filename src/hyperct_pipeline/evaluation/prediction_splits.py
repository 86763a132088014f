"""The rows of one split of a table of predictions; no row leaves without a word."""

import logging
from collections.abc import Iterable

import pandas as pd

from hyperct_pipeline.errors import LabelTableError, LeakageError

logger = logging.getLogger(__name__)

DEVELOPMENT = frozenset({"train", "validation"})

KNOWN_SPLITS = ("train", "validation", "test")


def of_split(predictions: pd.DataFrame, split: str, name: str = "predictions") -> pd.DataFrame:
    """Rows of one split; the whole table where no row names a split, as in tables from elsewhere.

    Raises:
        LabelTableError: only some rows name a split, two spellings differ in case alone, or the table names splits but
            not this one.
        LeakageError: a patient stands in two splits of the table.
    """
    if predictions["split"].isna().all():
        return predictions
    _refuse_unclear(predictions["split"], split, name)
    pairs = predictions[["patient_key", "split"]].drop_duplicates()
    shared = pairs.loc[pairs["patient_key"].duplicated(), "patient_key"]
    if len(shared):
        raise LeakageError(
            f"{name}: column split: {shared.nunique()} patients stand in more than one split; each must have one"
        )
    rows = predictions[predictions["split"] == split]
    others = {str(value): int(n) for value, n in predictions["split"].value_counts().items() if value != split}
    if rows.empty:
        raise LabelTableError(
            f"{name}: column split: no row of split {split!r}; rows of each split: {others}. {_way_out(others, name)}; "
            "a table without the column is taken whole"
        )
    if others:
        # rows of the development are expected beside those that are assessed; any other may be a mistake
        level = logging.INFO if set(others) <= DEVELOPMENT else logging.WARNING
        logger.log(
            level, "%s: %d rows of other splits than %s are left out: %s", name, sum(others.values()), split, others
        )
    return rows


def _way_out(others: Iterable[str], name: str) -> str:
    """What to do about an absent split; never to test on patients that the development has seen."""
    held_out = [other for other in others if other not in DEVELOPMENT]
    if name != "predictions":
        return "If one of these is meant, rename it"
    if not held_out:
        return "None of these is held out from development: give predictions of other patients"
    return f"If one of these is meant, assess it with `--params=assess.split={held_out[0]}`"


def _refuse_unclear(column: pd.Series, split: str, name: str) -> None:
    if n := int(column.isna().sum()):
        raise LabelTableError(
            f"{name}: column split: {n} of {len(column)} rows name no split; fill it in every row, or leave the whole "
            "column out"
        )
    counts = column.value_counts()
    spelled = {known.casefold(): known for known in (*map(str, counts.index[::-1]), *KNOWN_SPLITS, split)}
    strange = {str(v): int(n) for v, n in counts.items() if spelled[str(v).casefold()] != v}
    if strange:
        meant = sorted({spelled[value.casefold()] for value in strange})
        raise LabelTableError(
            f"{name}: column split: {strange} rows are of splits that differ only in case from {meant}; spell them "
            "alike"
        )
