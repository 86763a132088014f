"""From the tables that a run is given to the rows that are assessed, with recalibration from validation alone."""

import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from hyperct_pipeline.errors import ConfigError, LabelTableError
from hyperct_pipeline.evaluation.assess_settings import ALL, AssessConfig, RecalibrationConfig
from hyperct_pipeline.evaluation.assessment import MACRO
from hyperct_pipeline.evaluation.net_benefit import decision_cohorts
from hyperct_pipeline.evaluation.prediction_checks import checked_predictions, without_missing
from hyperct_pipeline.evaluation.prediction_keys import warn_of_similar_keys
from hyperct_pipeline.evaluation.prediction_problems import COLUMNS, RECALIBRATED, RIVAL, THRESHOLDS, rivals_of
from hyperct_pipeline.evaluation.prediction_splits import of_split
from hyperct_pipeline.evaluation.recalibration import (
    Calibration,
    apply_calibration,
    fit_calibration,
    refuse_other_validation,
)
from hyperct_pipeline.evaluation.task_rows import OTHER, groups_of, in_key_order

logger = logging.getLogger(__name__)

VALIDATION = "validation"
OF_PREDICTIONS, NOT_RECALIBRATED = "of the predictions", "none"
CIRCULAR = "none, because thresholds and recalibration come from the split validation, which is what was assessed"


class Assessed(NamedTuple):
    """The rows that are assessed, the calibration that was fitted for them (empty: none was), and facts of both."""

    rows: pd.DataFrame
    calibration: Calibration
    facts: dict[str, Any]


def assessed_table(
    predictions: pd.DataFrame,
    validation: pd.DataFrame | None,
    catalogue: dict[str, str],
    config: AssessConfig,
    recalibration: RecalibrationConfig,
) -> Assessed:
    """Check the tables, take the split that is assessed, and recalibrate it where there is something to do it with.

    The rows stand by patient and study; their index is the row of the table, from 0.

    A validation table that is given serves recalibration and thresholds, in place of those the predictions carry.
    Without one, predictions that carry none use their own rows of the split `validation`. Where that split is itself
    assessed, it is assessed without either, with a warning: its numbers would look better than they are.

    Args:
        predictions: ours, or another system's.
        validation: None: there is none.
        catalogue: task -> group.
        config: the split that is assessed.
        recalibration: how calibrators and thresholds are fitted.

    Raises:
        ConfigError: a setting of a task that nothing knows, or a rival named as the primary model.
        LabelTableError: a table is not what it must be; see `prediction_checks`.
        LeakageError: a patient stands in validation and among those assessed, or in two splits.
    """
    excluded, excludes = 0, config.missing_predictions == "exclude"
    if excludes:
        predictions, excluded = without_missing(predictions)
    checked = checked_predictions(predictions, allow_cut_off=excludes)
    _refuse_names(config, catalogue, checked)
    _tell_unused(predictions)
    rows = of_split(checked, config.split)
    if validation is None:
        rows, fitting, source = _own_recalibration(checked, rows)
    else:
        rows, fitting, source = _given_recalibration(validation, rows, excludes)
    rows, fitted = _recalibrated(rows, fitting, recalibration)
    facts = _facts(rows, catalogue, source, fitted, config) | {"rows_without_prediction": excluded}
    return Assessed(rows, fitted, facts)


def _recalibrated(
    rows: pd.DataFrame, fitting: pd.DataFrame | None, config: RecalibrationConfig
) -> tuple[pd.DataFrame, Calibration]:
    """The assessed rows in the order of their keys, and what was fitted for them (empty: nothing was)."""
    warn_of_similar_keys(*(table for table in (rows, fitting) if table is not None))
    rows = in_key_order(rows)
    if fitting is None:
        return rows, Calibration()
    fitted = fit_calibration(in_key_order(fitting), config)
    return apply_calibration(rows, fitted), fitted


Recalibrating = tuple[pd.DataFrame, pd.DataFrame | None, str]
"""The assessed rows, what recalibration is fitted on (None: nothing is), and its source."""


def _given_recalibration(validation: pd.DataFrame, rows: pd.DataFrame, excludes: bool) -> Recalibrating:
    """Recalibration of a validation table that must fit the assessed rows."""
    fitting = of_split(checked_predictions(validation, VALIDATION, excludes), VALIDATION, VALIDATION)
    refuse_other_validation(fitting, rows)
    return rows, fitting, "validation table"


def _own_recalibration(checked: pd.DataFrame, rows: pd.DataFrame) -> Recalibrating:
    """Recalibration of one table alone."""
    if (rows["split"] == VALIDATION).any():
        logger.warning(
            "predictions: the split validation is assessed, so its thresholds and recalibration are left out: they "
            "were, or would be, chosen on these patients"
        )
        return rows.assign(**dict.fromkeys((RECALIBRATED, *THRESHOLDS), np.nan)), None, CIRCULAR
    if _is_recalibrated(rows):
        return rows, None, OF_PREDICTIONS
    own = checked[(checked["split"] == VALIDATION).fillna(False)]
    return (rows, None, NOT_RECALIBRATED) if own.empty else (rows, own, "validation split of the predictions")


def _refuse_names(config: AssessConfig, catalogue: Mapping[str, str], checked: pd.DataFrame) -> None:
    """Names that would be passed over in silence, or taken for something else.

    Raises:
        ConfigError: a setting of a task that neither the table nor the catalogue knows, or a rival with the name of the
            primary model.
        LabelTableError: a task or a cohort with a name that the tables use for means or for the whole table.
    """
    if config.model in rivals_of(checked):
        raise ConfigError(
            f"the predictions hold a column probability_{config.model}, and assess.model calls the model of the column "
            f"probability '{config.model}' too; rename one of them"
        )
    if reserved := sorted(set(checked["task"]) & set(MACRO.values())):
        raise LabelTableError(f"predictions: column task: {reserved} are names of means in the tables; rename them")
    if n := int((checked["cohort"] == ALL).sum()):
        raise LabelTableError(
            f"predictions: column cohort: {n} rows of a cohort '{ALL}', which the tables call all cohorts together; "
            "rename it"
        )
    known = {*catalogue, *checked["task"]}
    for name in ("task_thresholds_percent", "stated_prevalence"):
        if strange := sorted(set(getattr(config, name)) - known):
            raise ConfigError(f"assess.{name} names {strange}; neither the predictions nor task_catalogue know them")


def _tell_unused(predictions: pd.DataFrame) -> None:
    """Log columns that nothing reads; a misspelt name would be passed over in silence."""
    names = [str(column).strip() for column in predictions]
    read = {*COLUMNS, *(f"{RIVAL}{model}" for model in rivals_of(predictions))}
    if unused := [name for name in names if name not in read]:
        logger.warning(
            "predictions: %d columns are not used: %s. Another model's predictions would be in probability_<model>; "
            "docs/evaluation.md lists all columns that are read", len(unused), unused,
        )  # fmt: skip


def _is_recalibrated(rows: pd.DataFrame) -> bool:
    return bool(rows[[RECALIBRATED, *THRESHOLDS]].notna().any(axis=None))


def _facts(
    rows: pd.DataFrame, catalogue: dict[str, str], source: str, fitted: Calibration, config: AssessConfig
) -> dict[str, Any]:
    models = rows["model_id"].dropna().unique()
    groups = groups_of(rows, catalogue)
    return {
        "model_id": str(models[0]) if len(models) else None,
        "rivals": list(rivals_of(rows)),
        "split": None if rows["split"].isna().all() else config.split,
        "rows": len(rows),
        "studies": int(rows["study_key"].nunique()),
        "patients": int(rows["patient_key"].nunique()),
        "tasks": list(groups),
        "decision_cohorts": list(decision_cohorts(rows, config)),
        "tasks_outside_the_catalogue": [task for task, group in groups.items() if group == OTHER],
        "recalibration": source,
        "validation_split_digest": fitted.get("split_digest"),
        "settings": asdict(config),
    }
