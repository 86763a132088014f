"""The errors a model was surest of: where to look first when asking why it fails."""

import re
from collections.abc import Mapping

import pandas as pd

COLUMNS = ("task", "group", "error", "rank", "row", "study_key", "label", "probability", "cohort")
PSEUDONYM = re.compile(r"^[a-z2-7]{20}$")  # keys as this software makes them


def failure_cases(predictions: pd.DataFrame, groups: Mapping[str, str], n_per_kind: int = 3) -> pd.DataFrame:
    """Per task the negatives with the highest risk and the positives with the lowest, one row each.

    A study is named by its key only where that is a pseudonym of ours; `row` is the number of the data row in the
    table that was assessed, from 1, so that a table of another system can be searched by its owner.
    """
    numbered = predictions.assign(row=predictions.index + 1).sort_values("row", kind="stable")
    rows = []
    known = dict(iter(numbered[numbered["label"].notna()].groupby("task", sort=False, observed=True)))
    for task in (task for task in groups if task in known):
        of_task = known[task]
        for error, label, ascending in (("false positive", 0, False), ("false negative", 1, True)):
            # ties by row, so that the same table always gives the same cases
            ranked = of_task[of_task["label"] == label].sort_values("probability", ascending=ascending, kind="stable")
            for rank, row in enumerate(ranked.head(n_per_kind).to_dict("records"), start=1):
                key = str(row["study_key"]) if PSEUDONYM.match(str(row["study_key"])) else None
                cells = (row["row"], key, label, row["probability"], row["cohort"])
                rows.append((task, groups[task], error, rank, *cells))
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"study_key": "string", "cohort": "string"})
