"""Tables whose end is missing, told from tables in which single rows are."""

import logging

import numpy as np
import pandas as pd

from hyperct_pipeline.errors import LabelTableError

logger = logging.getLogger(__name__)


def refuse_cut_off(frame: pd.DataFrame, name: str) -> None:
    """Refuse a table that is complete but for its last rows, and say where other rows are missing.

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
        raise LabelTableError(
            f"{name} look cut off: all is complete but the end, where {what} ({missing} rows missing). Write the "
            "table again; a study without a label keeps its row with an empty label."
        )
    logger.warning(
        "%s: %d of %d pairs of study and task have no row; they count as not assessed",
        name,
        missing,
        len(studies) * len(tasks),
    )
