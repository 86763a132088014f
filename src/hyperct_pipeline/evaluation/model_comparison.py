"""Models of one table against each other, task by task, on the same studies.

Two families of tests are fixed by the configuration before any number is seen, each every pair of the primary model and
a rival: what may become a claim, on the tasks of `assess.claim_tasks`, and what is looked through, on those of
`assess.exploration_tasks`. Tests that are not defined leave a family before its p values are adjusted.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from hyperct_pipeline.errors import ConfigError
from hyperct_pipeline.evaluation.assess_settings import ALL, AssessConfig
from hyperct_pipeline.evaluation.assessment import scores_of
from hyperct_pipeline.evaluation.task_rows import Known, Part
from hyperct_pipeline.metrics.comparison import auroc_difference, benjamini_hochberg, holm

COLUMNS = (
    "model", "rival", "task", "group", "auc", "auc_rival", "delta_auc", "ci_low", "ci_high", "p", "p_holm", "p_bh",
    "in_claims", "in_exploration", "n", "n_pos", "n_neg", "n_patients", "n_unknown", "status",
)  # fmt: skip
TRANSFER_COLUMNS = (
    "model", "task", "group", "auc", "auc_single_task", "delta_auc", "ci_low", "ci_high", "p", "p_holm", "transfer",
    "status",
)  # fmt: skip


def comparison_table(whole: Part, groups: Mapping[str, str], config: AssessConfig) -> pd.DataFrame:
    """Difference of the AUROC of the primary model and of each rival, one row per rival and task.

    Columns: `COLUMNS`. delta_auc is model minus rival, with Obuchowski's paired interval and test; p_holm is adjusted
    over the claims, p_bh over the exploration, each null outside its family. No rows where the table holds one model.

    Raises:
        ConfigError: a task of a family is not in the table.
    """
    claims = _family("claim_tasks", config.claim_tasks, whole)
    exploration = _family("exploration_tasks", config.exploration_tasks, whole)
    rivals = next(iter(whole.tasks.values())).rivals
    rows = [
        _pair(known, config.model, rival, config)
        | {"task": task, "group": groups[task], "in_claims": task in claims, "in_exploration": task in exploration}
        for rival in rivals
        for task, known in whole.tasks.items()
    ]
    return _adjusted(pd.DataFrame(rows, columns=list(COLUMNS)))


def _family(key: str, tasks: tuple[str, ...], whole: Part) -> set[str]:
    family = set(whole.tasks) if tasks == (ALL,) else set(tasks)
    if strange := sorted(family - set(whole.tasks)):
        raise ConfigError(f"assess.{key} names {strange}; the predictions hold {list(whole.tasks)}")
    return family


def _pair(known: Known, model: str, rival: str, config: AssessConfig) -> dict[str, Any]:
    scores = scores_of(known, config.model)
    found = auroc_difference(known.label, scores[model], scores[rival], known.patient, config.confidence_level)
    values = (None,) * 6 if found is None else found
    names = ("auc", "auc_rival", "delta_auc", "ci_low", "ci_high", "p")
    return {"model": model, "rival": rival} | dict(zip(names, values, strict=True)) | known.counts


def _adjusted(table: pd.DataFrame) -> pd.DataFrame:
    numbers = ("auc", "auc_rival", "delta_auc", "ci_low", "ci_high", "p", "p_holm", "p_bh")
    table = table.astype(dict.fromkeys(numbers, "float64"))
    for family, column, adjusted in (("in_claims", "p_holm", holm), ("in_exploration", "p_bh", benjamini_hochberg)):
        tested = table[family].astype(bool) & table["p"].notna()
        table.loc[tested, column] = adjusted(table.loc[tested, "p"].to_numpy(dtype=np.float64))
    return table


def transfer_table(whole: Part, groups: Mapping[str, str], config: AssessConfig) -> pd.DataFrame:
    """Every multi-task model against the single-task one: where does sharing help, and where does it harm?

    Columns: `TRANSFER_COLUMNS`; delta_auc is the model minus `assess.single_task_model`; transfer is negative or
    positive where p_holm over this table is below 1 - confidence_level, else `not shown`, or undefined. No rows where
    the table does not hold that model.
    """
    single = config.single_task_model
    found = [config.model, *next(iter(whole.tasks.values())).rivals]
    models = [model for model in found if model != single] if single in found else []
    table = pd.DataFrame(list(_transfer_rows(whole, models, groups, config)), columns=list(TRANSFER_COLUMNS))
    numbers = ("auc", "auc_single_task", "delta_auc", "ci_low", "ci_high", "p", "p_holm")
    table = table.astype(dict.fromkeys(numbers, "float64"))
    tested = table["p"].notna()
    table.loc[tested, "p_holm"] = holm(table.loc[tested, "p"].to_numpy(dtype=np.float64))
    shown = tested & (table["p_holm"] < 1.0 - config.confidence_level)
    words = np.where(shown, np.where(table["delta_auc"] < 0, "negative", "positive"), "not shown")
    table["transfer"] = np.where(tested, words, "undefined")
    return table


def _transfer_rows(
    whole: Part, models: list[str], groups: Mapping[str, str], config: AssessConfig
) -> Iterator[dict[str, Any]]:
    for model in models:
        for task, known in whole.tasks.items():
            row = _pair(known, model, config.single_task_model, config) | {"task": task, "group": groups[task]}
            row["auc_single_task"] = row.pop("auc_rival")
            yield {name: row.get(name) for name in TRANSFER_COLUMNS}
