"""Tables whose end is missing, told from tables in which single rows are."""

import logging

import numpy as np
import pandas as pd

from hyperct_pipeline.errors import LabelTableError

logger = logging.getLogger(__name__)


ENDS_OPEN = "ends_without_line_break"  # attribute of a frame whose file may have been cut off in its last number
WAY_OUT = (
    "If it is complete, `--params=assess.missing_predictions=exclude` lets it through: rows that are not there count "
    "as not assessed"
)


def refuse_open_end(name: str, allowed: bool) -> None:
    """Refuse a text table whose last line has no end, or warn where that is allowed.

    Raises:
        LabelTableError: it is not allowed.
    """
    what = "the table does not end with a line break, so it may be cut off in its last number"
    if not allowed:
        raise LabelTableError(f"{name}: {what}. Write or copy it again, or end its last line. {WAY_OUT}.")
    logger.warning("%s: %s; its last row is taken as it stands", name, what)


def refuse_cut_off(frame: pd.DataFrame, name: str, allowed: bool = False) -> None:
    """Refuse a table that is complete but for its last rows, and say where other rows are missing.

    Args:
        frame: one row per study and task.
        name: what messages call it.
        allowed: warn instead.

    Raises:
        LabelTableError: every study but the last has all tasks, or every task but the last has all studies in the
            same order, and the rest is missing at the end.
    """
    study, studies = pd.factorize(frame["study_key"])
    task, tasks = pd.factorize(frame["task"])
    missing = len(studies) * len(tasks) - len(frame)
    if not missing:
        return
    of_study, of_task = np.bincount(study), np.bincount(task)
    by_study = len(studies) > 2 and (np.diff(study) >= 0).all() and (of_study[:-1] == len(tasks)).all()
    by_task = len(tasks) > 2 and (np.diff(task) >= 0).all() and (of_task[:-1] == len(studies)).all()
    in_order = (study == np.concatenate([np.arange(k) for k in of_task])).all() if by_task else False
    if by_study or (by_task and in_order):
        what = f"the last study has {of_study[-1]} of {len(tasks)} tasks"
        if not by_study:
            what = f"the last task has {of_task[-1]} of {len(studies)} studies"
        found = f"look cut off: all is complete but the end, where {what} ({missing} rows missing)"
        if not allowed:
            raise LabelTableError(
                f"{name} {found}. Write the table again; a study without a label keeps its row with an empty label. "
                f"{WAY_OUT}."
            )
        logger.warning("%s %s", name, found)
    logger.warning(
        "%s: %d of %d pairs of study and task have no row; they count as not assessed",
        name,
        missing,
        len(studies) * len(tasks),
    )
