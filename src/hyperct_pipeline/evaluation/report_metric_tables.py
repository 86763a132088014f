"""Tables of the pages about discrimination, calls at thresholds and calibration."""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from hyperct_pipeline.evaluation.assess_settings import ALL, AssessConfig
from hyperct_pipeline.evaluation.assessment import MACRO
from hyperct_pipeline.evaluation.metric_cells import NOT_RECALIBRATED, metric_cell, plain_cell
from hyperct_pipeline.evaluation.report_tables import (
    DASH,
    STATUS_TEXT,
    Table,
    without_empty,
)

METHOD_TEXT = {
    "platt": "Platt",
    "isotonic": "isotonic",
    "intercept": "mean risk only",
    "flat": "flat: the prevalence for everybody",
}
CALIBRATION = {
    "calibration_slope": "Slope (1 is right)",
    "calibration_intercept": "Intercept (0 is right)",
    "calibration_in_the_large": "In the large (0 is right)",
    "oe_ratio": "Observed / expected (1 is right)",
    "brier": "Brier",
}
CALLS = {"sensitivity": "Sensitivity", "specificity": "Specificity", "ppv": "PPV", "npv": "NPV", "f1": "F1"}


def macro_table(metrics_full: pd.DataFrame, config: AssessConfig) -> Table:
    """Means of the task groups in each cohort, with the number of tasks they rest on."""
    part = primary(metrics_full, config)
    part = part[part["task"].isin(MACRO.values())]
    cells = {(row["cohort"], row["task"], row["metric"]): row for row in part.to_dict("records")}
    rows = []
    for cohort in dict.fromkeys(part["cohort"]):
        for group, task in MACRO.items():
            defined, total = (int(cells[cohort, task, m]["value"]) for m in ("n_tasks_defined", "n_tasks"))
            means = [metric_cell(cells[cohort, task, metric]) for metric in ("auc", "auprc", "brier")]
            place = "all cohorts" if cohort == ALL else str(cohort)
            complete = cells[cohort, task, "share_of_draws_with_all_tasks"]["value"]
            share = DASH if pd.isna(complete) else f"{complete:.0%}"
            rows.append([place, group, *means, f"{defined} of {total}", share])
    titles = [f"Mean {name} ({config.level_text} interval)" for name in ("AUROC", "AUPRC", "Brier")]
    return Table(
        "Means by task group", ["Cohort", "Tasks", *titles, "Tasks defined", "Resamples with all of them"], rows
    )


def primary(metrics_full: pd.DataFrame, config: AssessConfig) -> pd.DataFrame:
    """Rows of the primary model over whole cohorts, subgroups left out."""
    return metrics_full[(metrics_full["model"] == config.model) & (metrics_full["subgroup"] == ALL)]


def task_areas(metrics_full: pd.DataFrame, config: AssessConfig) -> pd.DataFrame:
    """The AUROC rows of tasks over all cohorts; the group means are no tasks."""
    part = primary(metrics_full, config)
    return part[(part["cohort"] == ALL) & (part["metric"] == "auc") & ~part["task"].isin(MACRO.values())]


def task_cells(metrics_full: pd.DataFrame, config: AssessConfig) -> dict[str, dict[str, dict[Hashable, Any]]]:
    """Task -> metric -> row, of the primary model over all cohorts together."""
    part = primary(metrics_full, config)
    part = part[(part["cohort"] == ALL) & ~part["task"].isin(MACRO.values())]
    cells: dict[str, dict[str, dict[Hashable, Any]]] = {}
    for row in part.to_dict("records"):
        cells.setdefault(str(row["task"]), {})[str(row["metric"])] = row
    return cells


def discrimination_table(
    metrics_full: pd.DataFrame, names: Mapping[str, str], config: AssessConfig, part: str
) -> Table:
    """Discrimination of every task over all cohorts together."""
    rows = []
    for task, of in task_cells(metrics_full, config).items():
        area = of["auc"]
        counts = [str(int(area[key])) for key in ("n_pos", "n_neg", "n_unknown", "n_patients")]
        others = [metric_cell(of[key]) for key in ("auprc", "sens_at_spec_90", "sens_at_spec_95")]
        prevalence = plain_cell(of["prevalence"])
        rows.append(
            [
                names[task],
                STATUS_TEXT[str(area["status"])],
                *counts,
                metric_cell(area),
                others[0],
                prevalence,
                *others[1:],
            ]
        )
    columns = ["Task", "Note", "Positive", "Negative", "Unknown", "Patients"]
    tail = ["AUROC", "AUPRC", "Prevalence", "Sensitivity at 90 % specificity", "Sensitivity at 95 % specificity"]
    caption = f"Discrimination, {part}, all cohorts; {config.level_text} intervals"
    return without_empty(Table(caption, [*columns, *tail], rows), "Note")


def threshold_table(
    metrics_full: pd.DataFrame, names: Mapping[str, str], config: AssessConfig, threshold: str, suffix: str, title: str
) -> Table:
    """What calling a study positive from a validation threshold on does, over all cohorts."""
    rows = []
    for task, of in task_cells(metrics_full, config).items():
        at = of[threshold]
        texts = [metric_cell(of[metric + suffix]) for metric in CALLS]
        note = "no threshold from validation" if pd.isna(at["value"]) else STATUS_TEXT[str(at["status"])]
        rows.append([names[task], note, plain_cell(at, 3), *texts])
    caption = f"Calls at the threshold chosen on validation ({title}), all cohorts; {config.level_text} intervals"
    return without_empty(Table(caption, ["Task", "Note", "Threshold", *CALLS.values()], rows), "Note")


def calibration_table(
    metrics_full: pd.DataFrame,
    applied: Mapping[str, Any],
    names: Mapping[str, str],
    config: AssessConfig,
    part: str,
    suffix: str = "",
) -> Table:
    """Calibration of every task over all cohorts, of the risk as given or recalibrated on validation.

    Args:
        applied: what the risks were recalibrated with (`recalibration.fit_calibration`); {}: the table alone knows.
    """
    rows = []
    for task, of in task_cells(metrics_full, config).items():
        note = STATUS_TEXT[str(of["auc"]["status"])]
        fitted = _fitted_cells(task, applied, "brier" + suffix in of) if suffix else []
        n = str(int(of["auc"]["n"]))
        texts = [_recalibrated_cell(of, key + suffix) for key in (*CALIBRATION, "ece")]
        rows.append([names[task], note, *fitted, *texts, n])
    again = "recalibrated on validation" if applied else "recalibrated risk of the table"
    risk = again if suffix else "risk as the model gives it"
    fits = (["Recalibration", *(["Validation n (positive)"] if applied else [])]) if suffix else []
    caption = f"Calibration, {risk}, {part}, all cohorts; {config.level_text} intervals"
    return without_empty(Table(caption, ["Task", "Note", *fits, *CALIBRATION.values(), "ECE", "n"], rows), "Note")


def _recalibrated_cell(of: Mapping[str, Mapping[Hashable, Any]], metric: str) -> str:
    """A metric of calibration, of which the recalibrated one may be absent."""
    if metric not in of:
        return NOT_RECALIBRATED
    return plain_cell(of[metric]) if metric.startswith("ece") else metric_cell(of[metric])


def _fitted_cells(task: str, applied: Mapping[str, Any], is_recalibrated: bool) -> list[str]:
    """How a task was recalibrated and on how many validation studies with a known label, as far as it is known."""
    if not applied:
        return ["as the table gives it" if is_recalibrated else DASH]
    fitted = applied["tasks"].get(task) or {}
    sizes = f"{fitted['n']} ({fitted['n_pos']})" if "n" in fitted else DASH
    return [METHOD_TEXT.get(fitted.get("method") or "", DASH), sizes]


def cohort_auroc_table(metrics_full: pd.DataFrame, names: Mapping[str, str], config: AssessConfig) -> Table:
    """AUROC of every task in each cohort."""
    part = primary(metrics_full, config)
    part = part[(part["metric"] == "auc") & ~part["task"].isin(MACRO.values())]
    cohorts = [cohort for cohort in dict.fromkeys(part["cohort"]) if cohort != ALL]
    cells = {(row["task"], row["cohort"]): row for row in part.to_dict("records")}
    rows = [
        [names[str(task)], *(metric_cell(cells[task, cohort]) for cohort in cohorts)]
        for task in dict.fromkeys(part["task"])
    ]
    return Table(f"AUROC by cohort; {config.level_text} intervals", ["Task", *map(str, cohorts)], rows)
