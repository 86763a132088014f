"""Figures of the assessment, drawn from its tables: forest of AUROCs and calibration.

Colours are Okabe and Ito's, which readers with any colour vision can tell apart. Figures are built without
pyplot, so no global state and no display is needed.
"""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hyperct_pipeline.evaluation.assess_settings import ALL, AssessConfig
from hyperct_pipeline.evaluation.assessment import MACRO, part_text
from hyperct_pipeline.evaluation.task_rows import known_of
from hyperct_pipeline.metrics.calibration import calibration_line, reliability_curve

GROUP_COLOURS = {"radiological": "#0072B2", "cardiac": "#D55E00"}
MODEL_COLOUR, RECALIBRATED_COLOUR, NEUTRAL = "#0072B2", "#009E73", "#6b7280"


def group_colour(group: str) -> str:
    """Colour of a task group; a group of one's own is grey."""
    return GROUP_COLOURS.get(group, NEUTRAL)


def auroc_figure(metrics_full: pd.DataFrame, names: Mapping[str, str], part: str, config: AssessConfig) -> Figure:
    """Forest of the AUROC of every task over all cohorts, grouped, with intervals and class counts.

    Hollow: fewer than 10 of either class. Tasks whose AUROC is undefined are listed with the reason.

    Args:
        part: what was assessed, as `assessment.part_text` says it.
        config: names the primary model and the confidence level.
    """
    whole = (metrics_full["cohort"] == ALL) & (metrics_full["subgroup"] == ALL)
    rows = metrics_full[whole & (metrics_full["model"] == config.model) & (metrics_full["metric"] == "auc")]
    macro = rows[rows["task"].isin(MACRO.values())].set_index("group")
    tasks = rows[~rows["task"].isin(MACRO.values())]
    groups = list(dict.fromkeys(tasks["group"]))
    n_lines = len(tasks) + 2 * len(groups)
    figure = Figure(figsize=(9.5, 1.6 + 0.27 * n_lines), layout="constrained")
    axes = figure.subplots()
    at = 0.0
    for group in groups:
        axes.text(-0.02, at, group.capitalize(), transform=axes.get_yaxis_transform(), ha="right", weight="bold")
        mean = macro.loc[group] if group in macro.index else None
        if mean is not None and pd.notna(mean["value"]):
            axes.plot([mean["ci_low"], mean["ci_high"]], [at, at], color=group_colour(group), lw=5, alpha=0.3)
            axes.plot(mean["value"], at, "D", color=group_colour(group), ms=6)
            axes.text(1.02, at, f"mean {mean['value']:.2f}", transform=axes.get_yaxis_transform(), weight="bold")
        at += 1
        for row in tasks[tasks["group"] == group].to_dict("records"):
            _forest_line(axes, at, row, names[str(row["task"])])
            at += 1
        at += 1
    axes.axvline(0.5, color=NEUTRAL, lw=0.8, ls="--")
    axes.set(
        xlim=(0, 1), ylim=(at - 0.5, -1), yticks=[], xlabel=f"AUROC ({config.level_text} interval, patient-clustered)"
    )
    axes.set_title(f"Discrimination on the {part}, all cohorts together", loc="left")
    axes.spines[["left", "top", "right"]].set_visible(False)
    return figure


def _forest_line(axes: Axes, at: float, row: Mapping[str, float | str], name: str) -> None:
    colour = group_colour(str(row["group"]))
    left = axes.get_yaxis_transform()
    axes.text(-0.02, at, name, transform=left, ha="right", va="center", fontsize=9)
    counts = f"n+ {int(row['n_pos'])}  n\N{MINUS SIGN} {int(row['n_neg'])}"
    if not math.isfinite(float(row["value"])):
        reason = {"one_class": "one class only", "no_labels": "no known label"}.get(str(row["status"]), "")
        axes.text(0.5, at, f"undefined: {reason}", ha="center", va="center", fontsize=8, style="italic")
    else:
        axes.plot([row["ci_low"], row["ci_high"]], [at, at], color=colour, lw=1.4)
        fill = "white" if row["status"] == "low_count" else colour
        axes.plot(float(row["value"]), at, "o", color=colour, markerfacecolor=fill, ms=6)
        counts = f"{row['value']:.2f}   {counts}"
        if not math.isfinite(float(row["ci_low"])):
            counts += "  no interval"
    axes.text(1.02, at, counts, transform=left, va="center", fontsize=8)


def calibration_figure(predictions: pd.DataFrame, names: Mapping[str, str], config: AssessConfig) -> Figure:
    """One reliability panel per task, before and after recalibration, with slope and counts.

    Args:
        predictions: checked, one split.
        names: task -> display name, in the order of the panels.
    """
    tasks = [task for task in names if (predictions["task"] == task).any()]
    columns = min(5, max(len(tasks), 1))
    n_rows = math.ceil(max(len(tasks), 1) / columns)
    figure = Figure(figsize=(2.6 * columns, 2.75 * n_rows + 0.6), layout="constrained")
    panels = figure.subplots(n_rows, columns, squeeze=False).ravel()
    for axes, task in zip(panels, tasks, strict=False):
        _calibration_panel(axes, predictions[predictions["task"] == task], config.reliability_bins)
        axes.set_title(names[task], fontsize=8)
    for axes in panels[len(tasks) :]:
        axes.set_visible(False)
    figure.supxlabel("Predicted risk (mean of bin)", fontsize=9)
    figure.supylabel("Observed share", fontsize=9)
    part = part_text(predictions, config)
    figure.suptitle(f"Calibration on the {part}: model (blue), recalibrated on validation (green)", fontsize=10)
    return figure


def _calibration_panel(axes: Axes, rows: pd.DataFrame, n_bins: int) -> None:
    known = known_of(rows)
    axes.plot([0, 1], [0, 1], color=NEUTRAL, lw=0.8, ls="--")
    axes.set(xlim=(0, 1), ylim=(0, 1), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1], aspect="equal")
    axes.tick_params(labelsize=7)
    notes = [f"n {len(known.label)}, {int(known.label.sum())} positive"]
    for risk, colour, marker in (
        (known.probability, MODEL_COLOUR, "o"),
        (known.calibrated, RECALIBRATED_COLOUR, "s"),
    ):
        if not len(risk) or np.isnan(risk).any():
            continue
        curve = reliability_curve(known.label, risk, n_bins)
        sizes = 8 + 30 * curve.n / curve.n.max()
        axes.plot(curve.predicted, curve.observed, color=colour, lw=0.8, alpha=0.6)
        axes.scatter(curve.predicted, curve.observed, s=sizes, color=colour, marker=marker, alpha=0.8)
    line = calibration_line(known.label, known.probability)
    notes.append("slope undefined" if line is None else f"slope {line.slope:.2f}")
    if known.recalibration_is_flat:
        notes.append("recalibration flat")
    axes.text(0.03, 0.97, "\n".join(notes), transform=axes.transAxes, va="top", fontsize=7)
