"""The tables of the report: numbers as text, an undefined number as a dash."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hyperct_pipeline.evaluation.assessment import ALL, MACRO, AssessConfig

DASH = "\N{EN DASH}"
STATUS_TEXT = {
    "ok": "",
    "low_count": "fewer than 10 of a class",
    "one_class": "one class only",
    "no_labels": "no known label",
}
METHOD_TEXT = {
    "platt": "Platt",
    "intercept": "mean risk only",
    "flat": "flat: the prevalence for everybody",
}
DECISION_PERCENT = (5, 10, 20, 30, 50)  # thresholds in the report's table; all are in decision_curves.csv


@dataclass(frozen=True)
class Table:
    """A table ready for HTML: the first cell of a row is its header."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def number(value: object, digits: int = 3) -> str:
    """A number as text: whole numbers without decimals, undefined as a dash, text as it is."""
    if value is None or value is pd.NA or (isinstance(value, float | np.floating) and np.isnan(value)):
        return DASH
    if isinstance(value, float | np.floating):
        return f"{value:.{digits}f}"
    return str(value)


def with_interval(value: float, low: float, high: float) -> str:
    """`0.81 (0.70 to 0.89)`; a value whose limits are undefined says so."""
    if pd.isna(value):
        return DASH
    limits = "interval undefined" if pd.isna(low) or pd.isna(high) else f"{low:.2f} to {high:.2f}"
    return f"{number(value, 2)} ({limits})"


def frame_table(frame: pd.DataFrame, caption: str) -> Table:
    """Any frame as it stands."""
    rows = [[number(value) for value in row] for row in frame.itertuples(index=False)]
    return Table(caption, [str(column) for column in frame.columns], rows)


def cohort_table(index: pd.DataFrame) -> Table:
    """Who was studied: per split and cohort the studies, patients, sex and age."""
    rows = []
    for (split, cohort), part in index.groupby(["split", "cohort"], dropna=False, sort=True):
        age = part["age_years"].astype("Float64").dropna()
        sex = part["sex"].astype("string").str.upper().str[0]
        women, men = int((sex == "F").sum()), int((sex == "M").sum())
        quartiles = [f"{age.quantile(q):.0f}" for q in (0.5, 0.25, 0.75)] if len(age) else None
        rows.append(
            [
                number(split),
                number(cohort),
                str(len(part)),
                str(part["patient_key"].nunique()),
                f"{women} / {men} / {len(part) - women - men}",
                f"{quartiles[0]} ({quartiles[1]} to {quartiles[2]})" if quartiles else DASH,
                str(len(part) - len(age)),
            ]
        )
    columns = ["Split", "Cohort", "Studies", "Patients", "Women / men / unknown"]
    return Table("Studies by split and cohort", [*columns, "Age in years, median (quartiles)", "Age unknown"], rows)


def prevalence_table(index: pd.DataFrame, names: Mapping[str, str]) -> Table:
    """Per task and split the positives among the known labels, and the unknown."""
    splits = [split for split in ("train", "validation", "test") if (index["split"] == split).any()]
    rows = []
    for task, name in names.items():
        cells = [name]
        for split in splits:
            label = index.loc[(index["split"] == split).fillna(False), task].astype("Int8")
            known, positive = int(label.notna().sum()), int(label.sum())
            share = f" ({positive / known:.0%})" if known else ""
            cells.append(f"{positive} / {known}{share}, {len(label) - known} unknown")
        rows.append(cells)
    return Table("Positive / known labels per task", ["Task", *(split.capitalize() for split in splits)], rows)


def macro_table(metrics_full: pd.DataFrame, level: str) -> Table:
    """Mean AUROC of the task groups in each cohort, with the number of tasks it rests on."""
    part = metrics_full[metrics_full["task"].isin(MACRO.values())]
    cells = {(row["cohort"], row["task"], row["metric"]): row for row in part.to_dict("records")}
    rows = []
    for cohort in dict.fromkeys(part["cohort"]):
        for group, task in MACRO.items():
            auc = cells[cohort, task, "auc"]
            defined, total = (int(cells[cohort, task, m]["value"]) for m in ("n_tasks_defined", "n_tasks"))
            interval = with_interval(auc["value"], auc["ci_low"], auc["ci_high"])
            place = "all cohorts" if cohort == ALL else str(cohort)
            rows.append([place, group, interval, f"{defined} of {total}"])
    return Table(
        "Mean AUROC by task group", ["Cohort", "Tasks", f"Mean AUROC ({level} interval)", "Tasks defined"], rows
    )


def _wide(metrics_full: pd.DataFrame, cohort: str = ALL) -> pd.DataFrame:
    """Values of one cohort, one row per task and one column per metric, beside the AUROC's counts."""
    part = metrics_full[(metrics_full["cohort"] == cohort) & ~metrics_full["task"].isin(MACRO.values())]
    values = {str(metric): rows.set_index("task")["value"] for metric, rows in part.groupby("metric", sort=False)}
    area = part[part["metric"] == "auc"].set_index("task")
    counts = area[["n_pos", "n_neg", "n_unknown", "n_patients", "status", "ci_low", "ci_high"]]
    return counts.join(pd.DataFrame(values))


def discrimination_table(metrics_full: pd.DataFrame, names: Mapping[str, str], assess: AssessConfig) -> Table:
    """Discrimination of every task over all cohorts together."""
    rows = []
    for task, of in _wide(metrics_full).iterrows():
        counts = [str(int(of[key])) for key in ("n_pos", "n_neg", "n_unknown", "n_patients")]
        area = with_interval(of["auc"], of["ci_low"], of["ci_high"])
        metrics = ("auprc", "prevalence", "sens_at_spec_90", "sens_at_spec_95")
        values = [number(of[key]) for key in metrics]
        rows.append([names[str(task)], *counts, area, *values, STATUS_TEXT[str(of["status"])]])
    columns = ["Task", "Positive", "Negative", "Unknown", "Patients", f"AUROC ({assess.level_text} interval)", "AUPRC"]
    tail = ["Prevalence", "Sensitivity at 90 % specificity", "at 95 %", "Note"]
    return Table(f"Discrimination, {assess.split} split, all cohorts", [*columns, *tail], rows)


def threshold_table(metrics_full: pd.DataFrame, names: Mapping[str, str], level: str) -> Table:
    """What calling a study positive from the validation threshold on does, over all cohorts."""
    metrics = {"sensitivity": "Sensitivity", "specificity": "Specificity", "ppv": "PPV", "npv": "NPV"}
    part = metrics_full[(metrics_full["cohort"] == ALL) & ~metrics_full["task"].isin(MACRO.values())]
    cells = {(row["task"], row["metric"]): row for row in part.to_dict("records")}
    rows = []
    for task in dict.fromkeys(part["task"]):
        threshold = cells[task, "threshold_youden"]
        shares = [cells[task, metric] for metric in metrics]
        texts = [with_interval(of["value"], of["ci_low"], of["ci_high"]) for of in shares]
        note = "no threshold from validation" if pd.isna(threshold["value"]) else STATUS_TEXT[threshold["status"]]
        rows.append([names[str(task)], number(threshold["value"]), *texts, note])
    columns = ["Task", "Threshold", *(f"{title} ({level} interval)" for title in metrics.values()), "Note"]
    return Table("Calls at the threshold chosen on validation (Youden), all cohorts", columns, rows)


def calibration_table(
    metrics_full: pd.DataFrame, methods: Mapping[str, str | None], names: Mapping[str, str], split: str
) -> Table:
    """Calibration of every task over all cohorts: as trained, and recalibrated on validation by the method named."""
    keys = {
        "brier": "Brier",
        "calibration_slope": "Slope",
        "calibration_intercept": "Intercept",
        "calibration_in_the_large": "In the large",
        "oe_ratio": "O:E",
    }
    wide = _wide(metrics_full)
    both = [*keys, *(f"{key}_recalibrated" for key in keys)]
    wide = wide.reindex(columns=[*wide.columns, *(key for key in both if key not in wide)])
    rows = [
        [
            names[str(task)],
            *(number(of[key]) for key in both),
            METHOD_TEXT.get(methods.get(str(task)) or "", DASH),
            STATUS_TEXT[str(of["status"])],
        ]
        for task, of in wide.iterrows()
    ]
    titles = [*keys.values(), *(f"{title}, recalibrated" for title in keys.values())]
    return Table(f"Calibration, {split} split, all cohorts", ["Task", *titles, "Recalibration", "Note"], rows)


def cohort_auroc_table(metrics_full: pd.DataFrame, names: Mapping[str, str], level: str) -> Table:
    """AUROC of every task in each cohort."""
    part = metrics_full[(metrics_full["metric"] == "auc") & ~metrics_full["task"].isin(MACRO.values())]
    cohorts = [cohort for cohort in dict.fromkeys(part["cohort"]) if cohort != ALL]
    cells = {(row["task"], row["cohort"]): row for row in part.to_dict("records")}
    rows = []
    for task in dict.fromkeys(part["task"]):
        found = [cells.get((task, cohort)) for cohort in cohorts]
        texts = [with_interval(c["value"], c["ci_low"], c["ci_high"]) if c else DASH for c in found]
        rows.append([names[str(task)], *texts])
    return Table(f"AUROC ({level} interval) by cohort", ["Task", *map(str, cohorts)], rows)


def decision_report_table(decision_curves: pd.DataFrame, names: Mapping[str, str], group: str) -> Table:
    """Net benefit of the model and of treating all at a few thresholds, all cohorts together."""
    part = decision_curves[decision_curves["group"] == group]
    percent = (part["threshold"] * 100.0).round().astype(int)
    shown = [p for p in DECISION_PERCENT if (percent == p).any()]
    rows = []
    for task, of_task in part.groupby("task", sort=False):
        at = of_task.set_index(percent[of_task.index])
        pairs = [(at.loc[p, "net_benefit"], at.loc[p, "treat_all"]) for p in shown]
        rows.append([names[str(task)], *(f"{number(model)} / {number(everyone)}" for model, everyone in pairs)])
    return Table("Net benefit of the model / of treating all", ["Task", *(f"{p} %" for p in shown)], rows)


def lora_table(lora_pca: pd.DataFrame, names: Mapping[str, str]) -> Table:
    """First components of every task over all modules; the share of variance stands in the heading."""
    part = lora_pca[lora_pca["module"] == "all"]
    components = [f"pc{k}" for k in (1, 2, 3) if f"pc{k}" in part]
    shares = [number(100.0 * part[f"explained_{name}"].iloc[0], 1) for name in components]
    titles = [f"{name.upper()} ({share} %)" for name, share in zip(components, shares, strict=True)]
    rows = [
        [str(row["number"]), names[str(row["task"])], str(row["group"]), number(row["norm"])]
        + [number(row[name]) for name in components]
        for row in part.to_dict("records")
    ]
    return Table("Weight updates: first components", ["No.", "Task", "Group", "Norm", *titles], rows)


def history_table(history: Mapping[str, Mapping[str, object]]) -> Table:
    """One row per epoch with everything that was recorded."""
    keys = list(dict.fromkeys(key for metrics in history.values() for key in metrics))
    rows = [[epoch, *(number(metrics.get(key), 4) for key in keys)] for epoch, metrics in sorted(history.items())]
    return Table("Training history", ["Epoch", *keys], rows)


def facts_table(facts: Mapping[str, object], caption: str) -> Table:
    """Names and values; lists and nested facts in one line."""
    rows = []
    for key, value in facts.items():
        if isinstance(value, Mapping):
            text = "; ".join(f"{name}: {number(item)}" for name, item in value.items())
        elif isinstance(value, list | tuple):
            text = ", ".join(map(str, value))
        else:
            text = number(value)
        rows.append([key.replace("_", " "), text])
    return Table(caption, ["Fact", "Value"], rows)
