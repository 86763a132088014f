"""Two models against each other as a forest: the difference of the AUROC of every task."""

import math
from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hyperct_pipeline.evaluation.figures import NEUTRAL, group_colour
from hyperct_pipeline.evaluation.report_tables import p_value


def comparison_figure(rows: pd.DataFrame, names: Mapping[str, str], level: str) -> Figure:
    """One line per task: difference with interval, and Holm's p; tasks whose difference is undefined say so.

    Args:
        rows: of one rival, as `model_comparison.comparison_table` makes them.
        names: task -> display name.
        level: the confidence level, such as `95 %`.
    """
    model, rival = str(rows["model"].iloc[0]), str(rows["rival"].iloc[0])
    figure = Figure(figsize=(9.5, 1.8 + 0.27 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for at, row in enumerate(rows.to_dict("records")):
        _line(axes, at, row, names[str(row["task"])])
    axes.axvline(0.0, color=NEUTRAL, lw=0.8, ls="--")
    axes.set(ylim=(len(rows) - 0.5, -1), yticks=[])
    axes.set_xlabel(f"AUROC of {model} minus AUROC of {rival} ({level} interval, paired, patient-clustered)")
    axes.set_title(f"Right of the line {model} ranks better, left of it {rival}", loc="left", fontsize=10)
    axes.spines[["left", "top", "right"]].set_visible(False)
    return figure


def _line(axes: Axes, at: int, row: Mapping[Hashable, Any], name: str) -> None:
    left = axes.get_yaxis_transform()
    colour = group_colour(str(row["group"]))
    axes.text(-0.02, at, name, transform=left, ha="right", va="center", fontsize=9)
    if not math.isfinite(float(row["delta_auc"])):
        axes.text(0.5, at, f"undefined: {row['status']}", transform=left, ha="center", va="center", fontsize=8)
        return
    axes.plot([row["ci_low"], row["ci_high"]], [at, at], color=colour, lw=1.4)
    axes.plot(float(row["delta_auc"]), at, "o", color=colour, ms=6)
    p = float(row["p_holm"])
    text = f"Holm p {p_value(p)}" if math.isfinite(p) else "not tested"
    axes.text(1.02, at, f"{row['delta_auc']:+.3f}   {text}", transform=left, va="center", fontsize=8)
