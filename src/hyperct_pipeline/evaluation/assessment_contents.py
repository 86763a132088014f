"""What the report and the page of an assessment say alike: the numbers of a table of predictions."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from hyperct_pipeline.evaluation import report_decision_tables as decision_tables
from hyperct_pipeline.evaluation import report_metric_tables as metric_tables
from hyperct_pipeline.evaluation import report_subgroup_tables as subgroup_tables
from hyperct_pipeline.evaluation.assess_settings import ALL, AssessConfig
from hyperct_pipeline.evaluation.assessment import MACRO_RULE
from hyperct_pipeline.evaluation.file_names import file_names
from hyperct_pipeline.evaluation.recalibration_effect import recalibration_effect
from hyperct_pipeline.evaluation.report_evidence import Assessment
from hyperct_pipeline.evaluation.report_tables import STATUS_TEXT, Table

UNKNOWN_TARGET = "target sensitivity, which the table does not say"


def assessment_contents(assessment: Assessment, names: Mapping[str, str]) -> dict[str, Any]:
    """Everything that the shared sections of the templates use, by name.

    Args:
        assessment: tables and figures.
        names: task -> display name, in the order of the tables.

    Raises:
        PackageError: the facts of the assessment do not say how it was made.
    """
    assess, facts = assessment.settings, assessment.facts
    subgroups = subgroup_tables.subgroup_aurocs(assessment.metrics_full, names, assess)
    effect = recalibration_effect(assessment.metrics_full, assess)
    return {
        "assess": assess,
        "assessed": facts,
        "assessment": assessment,
        "has_calibration": bool(assessment.applied_calibration),
        "cohort_names": {file: name for name, file in file_names(facts["decision_cohorts"]).items()},
        "rival_names": {file: name for name, file in file_names(facts["rivals"]).items()},
        "tables": {
            **_metric_tables_of(assessment, names, assess),
            **_decision_tables_of(assessment, names, assess),
            "differences": subgroup_tables.difference_table(
                assessment.subgroup_differences, names, assess, subgroups.repeated
            ),
        },
        "subgroups": subgroups,
        "summary": headline(assessment.metrics_full, assess),
        "undefined_tasks": undefined_tasks(assessment.metrics_full, names, assess),
        "macro_rule": MACRO_RULE,
        "recalibrated": None if effect is None else effect.sentence(assessment.applied_calibration),
        "decision_choice": decision_choice(facts["decision_cohorts"], assess),
    }


def _metric_tables_of(assessment: Assessment, names: Mapping[str, str], assess: AssessConfig) -> dict[str, Table]:
    """Discrimination, calls and calibration, by the name the templates use."""
    full, part, applied = assessment.metrics_full, assessment.part, assessment.applied_calibration
    target = f"sensitivity of at least {applied['target_sensitivity']:.0%} there" if applied else UNKNOWN_TARGET
    return {
        "macro": metric_tables.macro_table(full, assess),
        "discrimination": metric_tables.discrimination_table(full, names, assess, part),
        "by_cohort": metric_tables.cohort_auroc_table(full, names, assess),
        "youden": metric_tables.threshold_table(full, names, assess, "threshold_youden", "", "Youden"),
        "target": metric_tables.threshold_table(
            full, names, assess, "threshold_target_sensitivity", "_at_target", target
        ),
        "calibration": metric_tables.calibration_table(full, applied, names, assess, part),
        "recalibrated": metric_tables.calibration_table(full, applied, names, assess, part, "_recalibrated"),
    }


def _decision_tables_of(assessment: Assessment, names: Mapping[str, str], assess: AssessConfig) -> dict[str, Table]:
    """Decisions, other models and failures, by the name the templates use."""
    curves = assessment.decision_curves
    return {
        "decision": decision_tables.decision_table(curves, names, assess),
        "value": decision_tables.decision_value_table(curves, names, assess),
        "stated": decision_tables.stated_prevalence_table(curves, names, assess),
        "comparison": decision_tables.comparison_report_table(assessment.model_comparison, names, assess),
        "transfer": decision_tables.transfer_report_table(assessment.negative_transfer, names, assess),
        "failures": decision_tables.failure_table(assessment.failure_cases, names),
    }


def decision_choice(cohorts: Sequence[str], assess: AssessConfig) -> str:
    """Why these cohorts have a figure of decision curves, and not others."""
    if assess.decision_cohorts:
        return "Drawn are the cohorts that the configuration names."
    if list(cohorts) == [ALL]:
        return "The table names no cohort, so it is drawn as a whole."
    if all(cohort.startswith("prospective") for cohort in cohorts):
        return (
            "Drawn are the prospective cohorts: whether to act on a model is a question about patients it meets "
            "afterwards."
        )
    return "No cohort is called prospective and none is named in the configuration, so every cohort is drawn."


def headline(metrics_full: pd.DataFrame, assess: AssessConfig) -> list[Sequence[str]]:
    """Mean AUROC of each task group over all cohorts: group, value with interval, tasks."""
    rows = metric_tables.macro_table(metrics_full, assess).rows
    return [(row[1], row[2], row[5]) for row in rows if row[0] == "all cohorts"]


def undefined_tasks(
    metrics_full: pd.DataFrame, names: Mapping[str, str], assess: AssessConfig
) -> list[tuple[str, str]]:
    """Tasks without an AUROC and why."""
    rows = metric_tables.task_areas(metrics_full, assess)
    rows = rows[rows["value"].isna()]
    return [(names[str(row["task"])], STATUS_TEXT[row["status"]]) for row in rows.to_dict("records")]
