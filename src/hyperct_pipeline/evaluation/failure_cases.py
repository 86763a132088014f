"""The errors a model was surest of: where to look first when asking why it fails."""

import re
from collections.abc import Mapping

import pandas as pd

COLUMNS = (
    "task", "group", "error", "n_errors", "threshold", "rank", "row", "study_key", "label", "probability", "cohort",
)  # fmt: skip
PSEUDONYM = re.compile(r"^[a-z2-7]{20}$")  # keys as this software makes them
_USUAL_THRESHOLD = 0.5  # where validation chose none


def failure_cases(predictions: pd.DataFrame, groups: Mapping[str, str], n_per_kind: int = 3) -> pd.DataFrame:
    """Per task the negatives called positive with the highest risk and the positives missed with the lowest.

    A study is called positive where its risk is at least the threshold: Youden's of validation, which travels in the
    column `threshold_youden`, else 0.5. `n_errors` counts all errors of the kind; a task without one has no row. A
    study is named by its key only where that is a pseudonym of ours; `row` is the number of the data row in the table
    that was assessed, from 1, so that a table of another system can be searched by its owner.
    """
    given = predictions.get("threshold_youden", pd.Series(index=predictions.index, dtype="float64"))
    threshold = given.astype("float64").fillna(_USUAL_THRESHOLD)
    numbered = predictions.assign(row=predictions.index + 1, threshold=threshold).sort_values("row", kind="stable")
    rows = []
    known = dict(iter(numbered[numbered["label"].notna()].groupby("task", sort=False, observed=True)))
    for task in (task for task in groups if task in known):
        of_task = known[task]
        called = of_task["probability"] >= of_task["threshold"]
        kinds = (("false positive", 0, called, False), ("false negative", 1, ~called, True))
        for error, label, wrong, ascending in kinds:
            errors = of_task[(of_task["label"] == label) & wrong]
            # ties by row, so that the same table always gives the same cases
            ranked = errors.sort_values("probability", ascending=ascending, kind="stable")
            for rank, row in enumerate(ranked.head(n_per_kind).to_dict("records"), start=1):
                key = str(row["study_key"]) if PSEUDONYM.match(str(row["study_key"])) else None
                cells = (row["row"], key, label, row["probability"], row["cohort"])
                rows.append((task, groups[task], error, len(errors), row["threshold"], rank, *cells))
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"study_key": "string", "cohort": "string"})
