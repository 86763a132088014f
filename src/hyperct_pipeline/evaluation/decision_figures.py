"""Decision curves as figures: acting on the model against treating all and treating none."""

import math
from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hyperct_pipeline.evaluation.figures import MODEL_COLOUR, RECALIBRATED_COLOUR


def decision_curve_figure(decision_curves: pd.DataFrame, names: Mapping[str, str], title: str, level: str) -> Figure:
    """One panel per task.

    The recalibrated risk is drawn where there is one and it still tells patients apart. The axis is cut below so
    that curves stay readable; how many thresholds fall under it, and the lowest value there, is written in the panel.

    Args:
        decision_curves: rows of one cohort and model and of the tasks wanted, as `net_benefit.curve_frame` makes
            them.
        names: task -> display name.
        title: above the figure.
        level: the confidence level of the band, such as `95 %`.
    """
    tasks = list(dict.fromkeys(decision_curves["task"]))
    columns = min(4, max(len(tasks), 1))
    n_rows = math.ceil(max(len(tasks), 1) / columns)
    figure = Figure(figsize=(3.4 * columns, 2.9 * n_rows + 0.9), layout="constrained")
    panels = figure.subplots(n_rows, columns, squeeze=False).ravel()
    for axes, task in zip(panels, tasks, strict=False):
        _decision_panel(axes, decision_curves[decision_curves["task"] == task], level)
        axes.set_title(names[task], fontsize=9)
        axes.set_xlabel("risk threshold (%)", fontsize=8)
        axes.set_ylabel("net benefit", fontsize=8)
    for axes in panels[len(tasks) :]:
        axes.set_visible(False)
    handles = {label: line for axes in panels for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    if handles:
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, fontsize=8)
    figure.suptitle(title, fontsize=11)
    return figure


def _decision_panel(axes: Axes, rows: pd.DataFrame, level: str) -> None:
    first = rows.iloc[0]
    counts = f"n+ {int(first['n_pos'])}  n\N{MINUS SIGN} {int(first['n_neg'])}"
    axes.tick_params(labelsize=8)
    if rows["net_benefit"].isna().all():
        text = f"undefined: no known label\n{counts}"
        axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", fontsize=8)
        return
    percent = rows["threshold"] * 100.0
    prevalence = float(first["n_pos"]) / float(first["n"])
    floor = -max(0.25 * prevalence, 0.03)
    is_flat = bool(first["recalibration_is_flat"])
    suffix = "_recalibrated" if rows["net_benefit_recalibrated"].notna().all() and not is_flat else ""
    _draw_curves(axes, rows, percent, suffix, level)
    drawn = (
        {"": rows["net_benefit"]}
        if not suffix
        else {"as trained: ": rows["net_benefit"], "": rows["net_benefit" + suffix]}
    )
    lows = [(name, int((curve < floor).sum()), curve.min()) for name, curve in drawn.items()]
    note = "".join(f"\n{name}{n} thresholds below the axis, down to {low:.2f}" for name, n, low in lows if n)
    note += "\nrecalibration flat, not drawn" if is_flat else ""
    flag = {"low_count": " (low count)", "one_class": " (one class)"}.get(str(first["status"]), "")
    axes.text(0.97, 0.96, counts + flag + note, transform=axes.transAxes, ha="right", va="top", fontsize=7)
    axes.set(ylim=(floor, 1.15 * max(prevalence, 0.05)), xlim=(percent.min(), percent.max()))


def _draw_curves(axes: Axes, rows: pd.DataFrame, percent: pd.Series, suffix: str, level: str) -> None:
    axes.plot(percent, rows["treat_all"], color="#D55E00", lw=1.2, ls="--", label="treat all")
    axes.axhline(0.0, color="black", lw=1.0, ls=":", label="treat none")
    if suffix:
        axes.plot(percent, rows["net_benefit"], color=MODEL_COLOUR, lw=1.0, alpha=0.6, label="model as trained")
    colour = RECALIBRATED_COLOUR if suffix else MODEL_COLOUR
    label = f"model, recalibrated ({level} band)" if suffix else f"model ({level} band)"
    axes.fill_between(percent, rows["ci_low" + suffix], rows["ci_high" + suffix], color=colour, alpha=0.18, lw=0)
    axes.plot(percent, rows["net_benefit" + suffix], color=colour, lw=1.6, label=label)
