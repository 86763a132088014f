"""Cells of a findings table: present, absent, blank or a word that stands for nothing."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hyperct_pipeline.errors import LabelTableError
from hyperct_pipeline.labels.intervals import Intervals, Reason
from hyperct_pipeline.labels.reading import Count
from hyperct_pipeline.labels.shown_columns import RENAMED_SIMILARITY
from hyperct_pipeline.labels.source_formats import FindingsByLocation, FindingsFormat, FindingsWide, LocatedFinding
from hyperct_pipeline.labels.spelling import letters, nearest_column
from hyperct_pipeline.labels.tables import present_columns
from hyperct_pipeline.labels.tasks import TaskCatalogue

SEPARATOR = "*"  # abnormality*location


@dataclass(frozen=True)
class Cells:
    """One column (or several as one): its texts, and what each row says. bool arrays of shape (n,)."""

    cells: "pd.Series[str]"
    present: NDArray[np.bool_]
    absent: NDArray[np.bool_]
    strange: NDArray[np.bool_]

    @classmethod
    def of(cls, cells: "pd.Series[str]", config: FindingsFormat) -> Self:
        """Read a column; every distinct text is looked at once."""
        codes, unique = pd.factorize(cells)
        word = pd.Series(unique, dtype="str").str.lower().str.replace(r"^(-?\d+)\.0+$", r"\1", regex=True)
        present, absent = word.isin(config.present).to_numpy(), word.isin(config.absent).to_numpy()
        strange = ~(present | absent | word.isin(config.unknown).to_numpy())
        if not len(unique):
            nothing = np.zeros(0, bool)
            return cls(cells, nothing, nothing, nothing)
        return cls(cells, present[codes], absent[codes], strange[codes])

    def of_studies(self, rows: NDArray[np.bool_], codes: NDArray[np.intp], n: int) -> Intervals:
        """What n studies say; rows: which rows name a study, codes: the number of the study of each of those."""
        present, absent, strange = (np.zeros(n, bool) for _ in range(3))
        present[codes[self.present[rows]]] = absent[codes[self.absent[rows]]] = strange[codes[self.strange[rows]]] = (
            True
        )
        known = Intervals(
            present.astype(np.float64), present.astype(np.float64),
            np.zeros(n, bool), np.zeros(n, bool), np.full(n, Reason.FINDING, np.int8),
        )  # fmt: skip
        blank = known.because(~(present | absent), Reason.NOT_MEASURED)
        # the rows of a study must agree, and a cell that cannot be read agrees with nothing
        unmapped = blank.because(strange, Reason.UNMAPPED_TEXT)
        return unmapped.because(present & absent, Reason.SOURCE_CONFLICT)


def auto_columns(text: pd.DataFrame, config: FindingsWide) -> dict[str, str]:
    """Column -> finding."""
    if config.columns != "auto":
        return dict(config.columns)
    return {column: letters(column) for column in text.columns if column not in config.ignore}


def columns_of(
    text: pd.DataFrame, source: str, config: FindingsWide, catalogue: TaskCatalogue, mapped: Mapping[str, str]
) -> dict[str, list[str]]:
    """Finding -> every column that names it.

    Raises:
        LabelTableError: there is none at all, or one is missing while another column has nearly its name.
    """
    wanted = {finding: [c for c, f in mapped.items() if f == finding] or [finding] for finding in catalogue.findings}
    if not wanted:
        return {}
    claimed = [config.id.column, *config.ignore, *config.eligibility.names]
    return present_columns(text, source, wanted, [*claimed, *(mapped if config.columns != "auto" else ())])


def located_cells(
    text: pd.DataFrame, source: str, config: FindingsByLocation, catalogue: TaskCatalogue
) -> tuple[dict[str, list[Cells]], list[Count]]:
    """Finding -> one `Cells`: present where any of its columns is, absent where all are; and counts of strange columns.

    Raises:
        LabelTableError: no column has the form `abnormality*location`, or one has nearly the name of an abnormality or
            a location that the source maps: its positives would be lost.
    """
    pairs = {
        column: (word.strip(), location.strip())
        for column in text.columns
        if SEPARATOR in column and column not in config.ignore
        for word, location in [column.lower().split(SEPARATOR, 1)]
    }
    if not pairs:
        example = next(name for entry in config.findings.values() for name in entry.of)
        raise LabelTableError(
            f"Table '{source}' has no column of the form 'abnormality{SEPARATOR}location', e.g. '{example}{SEPARATOR}"
            f"lung'; it has {len(text.columns)} other columns. Is it given under the right source name?"
        )
    strange = _strange_pairs(source, pairs, config)
    words = {word for word, _ in pairs.values()}
    found = {}
    for finding in catalogue.findings:
        entry = config.findings.get(finding)
        if entry is None or entry.match == "unavailable" or not words & set(entry.of):
            continue
        names = [column for column, pair in pairs.items() if _counts(pair, entry, config.locations)]
        found[finding] = [_any_of(text, names, config)]
    return found, strange


def _counts(pair: Sequence[str], entry: LocatedFinding, locations: str) -> bool:
    word, location = pair
    return word in entry.of and (locations == "any" or not entry.at or location in entry.at)


def _strange_pairs(source: str, pairs: Mapping[str, tuple[str, str]], config: FindingsByLocation) -> list[Count]:
    """How many columns have an abnormality or location that the source does not know; one that looks renamed stops."""
    mapped = {word for entry in config.findings.values() for word in entry.of}
    places = {place for entry in config.findings.values() for place in entry.at} if config.locations == "mapped" else ()
    located = {word for entry in config.findings.values() if entry.at for word in entry.of}
    words = {word for word, _ in pairs.values()} - mapped - set(config.other_abnormalities)
    used = {place for word, place in pairs.values() if word in located}
    unknown = used - set(places) - set(config.other_locations) if places else set()
    _refuse_renamed(source, words, mapped, f"{{}}{SEPARATOR}...")
    _refuse_renamed(source, unknown, places, f"...{SEPARATOR}{{}}")
    counts = {
        "unknown_abnormality": sum(word in words for word, _ in pairs.values()),
        "unknown_location": sum(word in located and place in unknown for word, place in pairs.values()),
    }
    return [("columns", reason, count) for reason, count in counts.items() if count]


def _refuse_renamed(source: str, strange: Iterable[str], known: Collection[str], form: str) -> None:
    for name in sorted(strange):
        if meant := nearest_column(name, sorted(known), RENAMED_SIMILARITY):
            raise LabelTableError(
                f"Table '{source}' has no column '{form.format(meant)}'; nearest: '{form.format(name)}'. "
                "Rename it, or add the spelling to the source in parameters_sources.yml: to the finding, or to "
                "`other_abnormalities` or `other_locations` where it is something else."
            )


def _any_of(text: pd.DataFrame, names: Sequence[str], config: FindingsFormat) -> Cells:
    n = len(text)
    present, blank, strange = (np.zeros(n, bool) for _ in range(3))
    shown = pd.Series(np.full(n, "", object), index=text.index)
    for name in names:
        one = Cells.of(text[name], config)
        present |= one.present
        blank |= ~(one.present | one.absent | one.strange)
        strange |= one.strange
        shown = shown.mask(one.strange, text[name])
    # a word that stands for nothing matters only where no other column says present
    return Cells(shown.astype("str"), present, ~(present | blank | strange), strange & ~present)
