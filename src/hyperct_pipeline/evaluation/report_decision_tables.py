"""Tables of the pages about decisions, other models and failures."""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from hyperct_pipeline.evaluation.assess_settings import AssessConfig
from hyperct_pipeline.evaluation.net_benefit import drawn_tasks
from hyperct_pipeline.evaluation.report_tables import DASH, Table, fixed, number, p_value, with_interval

DECISION_PERCENT = (5, 10, 20, 30, 50)  # thresholds in the report's tables; all are in decision_curves.csv
VALUE_PERCENT = (10, 20, 30)


def decision_table(decision_curves: pd.DataFrame, names: Mapping[str, str], assess: AssessConfig) -> Table:
    """Net benefit of the model and of treating all at a few thresholds, of the risk that the figures emphasise."""
    rows = []
    for task, of_task in drawn_tasks(decision_curves, assess.decision_group).groupby("task", sort=False):
        suffix, risk = drawn_risk(of_task)
        at = _by_percent(of_task)
        cells = [
            f"{number(at[p]['net_benefit' + suffix])} / {number(at[p]['treat_all'])}" if p in at else DASH
            for p in DECISION_PERCENT
        ]
        rows.append([names[str(task)], risk, *cells])
    columns = ["Task", "Risk", *(f"{p} %" for p in DECISION_PERCENT)]
    return Table("Net benefit of the model / of treating all, by risk threshold", columns, rows)


def drawn_risk(of_task: pd.DataFrame) -> tuple[str, str]:
    """Suffix of the columns and name of the risk that the decision curve of a task shows."""
    given = of_task["net_benefit_recalibrated"].notna().all() and not of_task["recalibration_is_flat"].any()
    return ("_recalibrated", "recalibrated") if given else ("", "as given")


def decision_value_table(decision_curves: pd.DataFrame, names: Mapping[str, str], assess: AssessConfig) -> Table:
    """Interventions avoided, chance of being the best strategy, and what perfect information would add."""
    rows = []
    for task, of_task in drawn_tasks(decision_curves, assess.decision_group).groupby("task", sort=False):
        suffix, _ = drawn_risk(of_task)
        at = _by_percent(of_task)
        cells = [_value_cells(at[p], suffix) if p in at else [DASH] * 3 for p in VALUE_PERCENT]
        rows.append([names[str(task)], *(cell for of_value in zip(*cells, strict=True) for cell in of_value)])
    titles = [f"{value} at {p} %" for value in ("Avoided", "P(model best)", "EVPI") for p in VALUE_PERCENT]
    return Table("Value of decisions by risk threshold", ["Task", *titles], rows)


def stated_prevalence_table(decision_curves: pd.DataFrame, names: Mapping[str, str], assess: AssessConfig) -> Table:
    """Net benefit where the prevalence is the one stated, of all tasks with one; no rows where none is stated."""
    rows = []
    stated = decision_curves[decision_curves["stated_prevalence"].notna()]
    for task, of_task in stated.groupby("task", sort=False):
        suffix, risk = drawn_risk(of_task)
        at = _by_percent(of_task)
        value, low, high = (f"net_benefit_stated{part}{suffix}" for part in ("", "_ci_low", "_ci_high"))
        cells = [
            f"{with_interval(at[p][value], at[p][low], at[p][high], 3)} / {number(at[p]['treat_all_stated'])}"
            if p in at
            else DASH
            for p in VALUE_PERCENT
        ]
        rows.append([names[str(task)], f"{100.0 * of_task['stated_prevalence'].iloc[0]:g} %", risk, *cells])
    columns = ["Task", "Stated prevalence", "Risk", *(f"{p} %" for p in VALUE_PERCENT)]
    caption = (
        f"Net benefit ({assess.level_text} interval) / of treating all, at the stated prevalence, by risk threshold"
    )
    return Table(caption, columns, rows)


def _by_percent(of_task: pd.DataFrame) -> dict[int, dict[Hashable, Any]]:
    """Threshold in percent -> row."""
    return {round(100.0 * row["threshold"]): row for row in of_task.to_dict("records")}


def _value_cells(row: Mapping[Hashable, Any], suffix: str) -> list[str]:
    """Interventions avoided per 100, P(best) and EVPI, each in one format."""
    avoided, value = row[f"interventions_avoided_per_100{suffix}"], row[f"evpi{suffix}"]
    benefit = row[f"net_benefit{suffix}"]
    same = [name for name in ("treat_all", "treat_none") if benefit == row[name]]
    best = f"{DASH} (acts as {same[0].replace('_', ' ')})" if same else fixed(row[f"p_best{suffix}"], 2)
    return [fixed(avoided, 1), best, fixed(value, 4)]


def comparison_report_table(model_comparison: pd.DataFrame, names: Mapping[str, str], config: AssessConfig) -> Table:
    """AUROC of the primary model and of each rival, difference, raw and adjusted p."""
    rows = [
        [
            names[str(row["task"])],
            str(row["rival"]),
            number(row["auc"], 2),
            number(row["auc_rival"], 2),
            with_interval(row["delta_auc"], row["ci_low"], row["ci_high"], 3),
            p_value(row["p"]),
            p_value(row["p_holm"]),
            p_value(row["p_bh"]),
        ]
        for row in model_comparison.to_dict("records")
    ]
    columns = ["Task", "Rival", "AUROC", "AUROC of the rival", f"Difference ({config.level_text} interval)"]
    return Table("Comparison on the same studies", [*columns, "p", "p (Holm)", "p (BH)"], rows)


def transfer_report_table(negative_transfer: pd.DataFrame, names: Mapping[str, str], config: AssessConfig) -> Table:
    """Every multi-task model against the single-task one."""
    rows = [
        [
            names[str(row["task"])],
            str(row["model"]),
            with_interval(row["delta_auc"], row["ci_low"], row["ci_high"], 3),
            p_value(row["p_holm"]),
            str(row["transfer"]),
        ]
        for row in negative_transfer.to_dict("records")
    ]
    columns = ["Task", "Model", f"AUROC minus single-task ({config.level_text} interval)", "p (Holm)", "Transfer"]
    return Table("Transfer: multi-task against single-task", columns, rows)


def failure_table(failures: pd.DataFrame, names: Mapping[str, str]) -> Table:
    """The surest errors, pseudonymous."""
    rows = [
        [
            names[str(row["task"])],
            str(row["error"]),
            str(row["n_errors"]),
            str(row["row"]),
            number(row["study_key"]),
            number(row["cohort"]),
            number(row["probability"], 2),
            number(row["threshold"], 2),
        ]
        for row in failures.to_dict("records")
    ]
    columns = [
        "Task",
        "Error",
        "Errors of this kind",
        "Row of the table",
        "Study",
        "Cohort",
        "Probability",
        "Threshold",
    ]
    return Table("Most confident errors per task", columns, rows)
