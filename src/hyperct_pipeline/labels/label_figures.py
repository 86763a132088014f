"""Figures of the labels: what is missing, what comes together, and how far the echoes lie from the scans."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from hyperct_pipeline.labels.tasks import Task, TaskCatalogue

REASON_ORDER = (
    "not_measured", "not_available_in_source", "outside_window", "range_straddles", "unmapped_text", "out_of_range",
    "alias_conflict", "source_conflict", "excluded",
)  # fmt: skip
GAP_BIN_DAYS = 15


def missingness_figure(report: pd.DataFrame, index: pd.DataFrame, catalogue: TaskCatalogue) -> Figure:
    """Left: share of studies whose label is unknown, per task and cohort. Right: why, of all studies.

    Args:
        report: the harmonization report, of which the section `task` is used.
        index: study index.
        catalogue: tasks, drawn from top to bottom in its order.
    """
    tasks = list(catalogue.ids)
    cohort = index["cohort"].fillna("(no cohort)")
    unknown = index[tasks].isna().groupby(cohort).mean().T.reindex(tasks)
    counts = report[report["section"] == "task"].pivot_table(index="item", columns="reason", values="count")
    why = counts.reindex(index=tasks, columns=list(REASON_ORDER)).fillna(0)
    figure = Figure(figsize=(13, 1.8 + 0.34 * len(tasks)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[max(2, unknown.shape[1]), len(REASON_ORDER)])
    _heat(left, unknown.to_numpy(float), [str(c) for c in unknown.columns], "Unknown labels by cohort")
    _heat(right, why.to_numpy(float) / max(len(index), 1), list(REASON_ORDER), "Why, of all studies")
    left.set_yticks(range(len(tasks)), [catalogue.name_of(task) for task in tasks])
    return figure


def co_occurrence_figure(index: pd.DataFrame, catalogue: TaskCatalogue) -> Figure:
    """Share of the studies positive in the row's task that are positive in the column's, where both are known.

    A framed cell marks two tasks that share an input or are declared to overlap: they agree by construction.
    """
    tasks = list(catalogue.ids)
    share = co_occurrence(index[tasks])
    figure = Figure(figsize=(3.5 + 0.36 * len(tasks), 2.5 + 0.34 * len(tasks)), layout="constrained")
    axes = figure.subplots()
    names = [catalogue.name_of(task) for task in tasks]
    image = axes.imshow(np.ma.masked_invalid(share), cmap="Blues", vmin=0, vmax=1)
    for row, column in structural_overlaps(catalogue.tasks):
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="#D55E00", linewidth=1.8))
    axes.set_xticks(range(len(tasks)), names, rotation=60, ha="right", fontsize="small")
    axes.set_yticks(range(len(tasks)), names, fontsize="small")
    axes.set_title("Given the row is positive, how often is the column (framed: shared inputs)", fontsize="medium")
    figure.colorbar(image, ax=axes, shrink=0.6, label="Share positive, both known")
    return figure


def echo_gap_figure(labels: pd.DataFrame, index: pd.DataFrame, report_at_days: Sequence[int]) -> Figure:
    """Days from CT to the farthest echo behind a study's known labels, with lines at the report's days."""
    known = labels[labels["label"].notna() & labels["echo_gap_days"].notna()]
    distance = known["echo_gap_days"].abs()
    farthest = known.loc[distance.sort_values(kind="stable").index].drop_duplicates("study_key", keep="last")
    days = farthest["echo_gap_days"].to_numpy(np.float64)
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    reach = max([np.abs(days).max(initial=0), 30]) + GAP_BIN_DAYS
    edges = np.arange(-np.ceil(reach / GAP_BIN_DAYS), np.ceil(reach / GAP_BIN_DAYS) + 1) * GAP_BIN_DAYS
    axes.hist(days, bins=edges.tolist(), color="#0072B2", edgecolor="white", linewidth=0.5)
    for limit in report_at_days:
        for side in (-limit, limit):
            if abs(side) <= edges[-1]:
                axes.axvline(side, color="#666666", linestyle="--", linewidth=0.8)
                axes.annotate(
                    f"{side:+d}", (side, 1), xycoords=("data", "axes fraction"), ha="center", fontsize="small"
                )
    axes.set(xlabel="Days from CT to echo (negative: echo before CT)", ylabel="Studies")
    axes.text(0.99, 0.95, f"{len(days)} of {len(index)} studies", transform=axes.transAxes, ha="right", va="top")
    return figure


def co_occurrence(matrix: pd.DataFrame) -> NDArray[np.float64]:
    """Share of positives of task j among studies positive in task i and known in j, shape (t, t); NaN where none."""
    positive = (matrix == 1).fillna(False).to_numpy(np.float64)
    known = matrix.notna().to_numpy(np.float64)
    together, base = positive.T @ positive, positive.T @ known
    share: NDArray[np.float64] = np.divide(together, base, out=np.full(base.shape, np.nan), where=base > 0)
    return share


def structural_overlaps(tasks: Sequence[Task]) -> list[tuple[int, int]]:
    """Pairs of different tasks, both ways round, that share an input other than sex or are declared to overlap."""
    pairs = []
    for i, first in enumerate(tasks):
        for j, second in enumerate(tasks):
            shared = (set(first.inputs) & set(second.inputs)) - {"sex"}
            declared = second.id in first.overlaps or first.id in second.overlaps
            if i != j and (shared or declared):
                pairs.append((i, j))
    return pairs


def _heat(axes: Axes, share: NDArray[np.float64], names: Sequence[str], title: str) -> None:
    if share.size:
        axes.imshow(np.nan_to_num(share), cmap="Oranges", vmin=0, vmax=1.3, aspect="auto")
    for (row, column), value in np.ndenumerate(share):
        if value > 0:
            text = f"{100 * value:.0f}" if value >= 0.005 else "<1"
            axes.text(column, row, text, ha="center", va="center", fontsize="small")
    axes.set_xticks(range(len(names)), names, rotation=35, ha="right", fontsize="small")
    axes.set_title(f"{title} (%)", fontsize="medium")
    axes.tick_params(axis="y", length=0)
