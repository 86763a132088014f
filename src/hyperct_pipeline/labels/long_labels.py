"""The long label table over all sources, and the one truth per study and task that they add up to."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hyperct_pipeline.labels.harmonization import Observed, label_table, verdicts
from hyperct_pipeline.labels.intervals import Reason
from hyperct_pipeline.labels.merging import merged_truths
from hyperct_pipeline.labels.rules import Truth
from hyperct_pipeline.labels.statements import Statement
from hyperct_pipeline.labels.tasks import TaskCatalogue


def labelled(
    studies: pd.DataFrame, stated: Sequence[Statement], catalogue: TaskCatalogue, out: NDArray[np.bool_]
) -> tuple[dict[str, Truth], pd.DataFrame]:
    """The truth of each task over all sources, and the long label table.

    Args:
        studies: study_key, one row per study.
        stated: what each source says of them.
        catalogue: the tasks.
        out: shape (n,), studies that do not count: all their labels are unknown (`excluded`).

    Returns:
        Task -> truth, and one row per study, task and source that speaks about the study (source null: none does).
    """
    truths = [
        {task: truth.because(out, Reason.EXCLUDED) for task, truth in verdicts(s.observed, catalogue).items()}
        for s in stated
    ]
    merged = merged_truths([s.precedence for s in stated], truths)
    parts = [
        label_table(_rows(s.observed, s.said), _truth_rows(t, s.said), catalogue, s.reading.source)
        for s, t in zip(stated, truths, strict=True)
    ]
    nobody = ~np.any([s.said for s in stated], axis=0)
    nothing = Observed(studies["study_key"], {}, {}, np.zeros(len(studies), bool))
    silent = label_table(_rows(nothing, nobody), _truth_rows(merged, nobody), catalogue, "")
    silent = silent.assign(source=pd.Series(dtype="str"))
    filled = [part for part in (*parts, silent) if len(part)]
    return merged, pd.concat(filled or [silent], ignore_index=True)


def _rows(observed: Observed, rows: NDArray[np.bool_]) -> Observed:
    return Observed(
        observed.study_key[rows].reset_index(drop=True),
        {name: intervals.take(rows) for name, intervals in observed.intervals.items()},
        {name: gap[rows] for name, gap in observed.gap_days.items()},
        observed.excluded[rows],
    )


def _truth_rows(truths: Mapping[str, Truth], rows: NDArray[np.bool_]) -> dict[str, Truth]:
    return {task: Truth(t.true[rows], t.false[rows], t.reason[rows]) for task, t in truths.items()}
