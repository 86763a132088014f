"""How many labels would change under another definition set."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hyperct_pipeline.labels.harmonization import verdicts
from hyperct_pipeline.labels.intervals import Reason
from hyperct_pipeline.labels.merging import merged_truths
from hyperct_pipeline.labels.rules import Truth
from hyperct_pipeline.labels.statements import Statement
from hyperct_pipeline.labels.tasks import TaskCatalogue

FLIP_COLUMNS = (
    "task", "definition_set", "other_set", "studies", "same", "zero_to_one", "one_to_zero", "known_to_unknown",
    "unknown_to_known",
)  # fmt: skip


def definition_flips(
    stated: Sequence[Statement], catalogue: TaskCatalogue, excluded: NDArray[np.bool_], merged: Mapping[str, Truth]
) -> pd.DataFrame:
    """One row per task and other definition set, columns `FLIP_COLUMNS`: numbers of studies.

    Args:
        stated: what each source says.
        catalogue: the set in use, and the others in `sets`.
        excluded: shape (n,), studies without labels.
        merged: the labels under the set in use.
    """
    rows = []
    for name in catalogue.sets:
        if name == catalogue.definition_set:
            continue
        other = catalogue.under(name)
        truths = [
            {task: truth.because(excluded, Reason.EXCLUDED) for task, truth in verdicts(s.observed, other).items()}
            for s in stated
        ]
        theirs = merged_truths([s.precedence for s in stated], truths)
        rows += [(task, catalogue.definition_set, name, *_changes(merged[task], theirs[task])) for task in other.ids]
    return pd.DataFrame(rows, columns=list(FLIP_COLUMNS))


def _changes(ours: Truth, theirs: Truth) -> tuple[int, ...]:
    up, down = ours.false & theirs.true, ours.true & theirs.false
    lost, found = ours.known & ~theirs.known, ~ours.known & theirs.known
    changed = [int(part.sum()) for part in (up, down, lost, found)]
    return (len(ours.true), len(ours.true) - sum(changed), *changed)
