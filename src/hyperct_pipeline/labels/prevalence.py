"""How common each label is: prevalence with Wilson intervals by site and split, beside the number of known labels."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hyperct_pipeline.labels.source_formats import SPLITS
from hyperct_pipeline.labels.tasks import TaskCatalogue

Z_95 = 1.959963984540054  # standard normal quantile of a two-sided 95 % interval
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#666666")  # Okabe-Ito


def wilson_interval(
    positive: NDArray[np.int64], n: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """95 % interval of a proportion (Wilson 1927); NaN where n is 0.

    Args:
        positive, n: same shape, counts.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        p = positive / n
        centre = (p + Z_95**2 / (2 * n)) / (1 + Z_95**2 / n)
        half = Z_95 / (1 + Z_95**2 / n) * np.sqrt(p * (1 - p) / n + Z_95**2 / (4 * n**2))
    empty = n == 0
    return np.where(empty, np.nan, centre - half), np.where(empty, np.nan, centre + half)


def prevalence_figure(index: pd.DataFrame, catalogue: TaskCatalogue) -> Figure:
    """Left: prevalence per task, site and split with 95 % interval. Right: number of known labels.

    Args:
        index: study index; studies without a cohort are left out.
        catalogue: tasks, drawn from top to bottom in its order.
    """
    group = index["site"].fillna("no site") + ", " + index["split"].fillna("no split")
    group = group.where(index["cohort"].notna())
    order = {split: place for place, split in enumerate(SPLITS)}
    cohorts = sorted(
        group.dropna().unique(), key=lambda name: (name.rsplit(", ", 1)[0], order.get(name.split(", ")[-1], 9))
    )
    figure = Figure(figsize=(12, 1.2 + 0.36 * len(catalogue.ids)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[3, 1 + 0.35 * len(cohorts)])
    known = np.zeros((len(catalogue.ids), len(cohorts)), np.int64)
    for k, cohort in enumerate(cohorts):
        labels = index.loc[group == cohort, list(catalogue.ids)]
        known[:, k] = labels.notna().sum().to_numpy()
        offset = 0.7 * ((k + 0.5) / len(cohorts) - 0.5)
        _draw_cohort(left, labels, known[:, k], offset, COLOURS[k % len(COLOURS)], str(cohort))
    left.set_yticks(range(len(catalogue.ids)), [catalogue.name_of(task) for task in catalogue.ids])
    left.set(xlabel="Prevalence among known labels (95 % Wilson interval)", xlim=(0, 1))
    left.set_ylim(len(catalogue.ids) - 0.5, -0.5)
    left.grid(axis="x", alpha=0.3)
    if cohorts:
        left.legend(loc="lower right", fontsize="small", title="Site, split")
    _draw_known(right, known, [str(cohort) for cohort in cohorts])
    return figure


def _draw_cohort(
    axes: Axes, labels: pd.DataFrame, known: NDArray[np.int64], offset: float, colour: str, name: str
) -> None:
    positive = (labels == 1).sum().to_numpy(np.int64)
    low, high = wilson_interval(positive, known)
    there = known > 0
    place = np.arange(len(known))[there] + offset
    rate = positive[there] / known[there]
    # the interval of 0 of n starts at 0 up to rounding error, which errorbar would refuse as negative
    error = np.maximum([rate - low[there], high[there] - rate], 0)
    axes.errorbar(rate, place, xerr=error, fmt="o", markersize=3, linewidth=1, color=colour, label=name)


def _draw_known(axes: Axes, known: NDArray[np.int64], cohorts: list[str]) -> None:
    share = known / np.maximum(known.max(axis=0, keepdims=True, initial=1), 1)
    if cohorts:
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1.6, aspect="auto")
    for (row, column), count in np.ndenumerate(known):
        axes.text(column, row, str(count), ha="center", va="center", fontsize="small")
    axes.set_xticks(range(len(cohorts)), cohorts, rotation=30, ha="right", fontsize="small")
    axes.set_title("Known labels", fontsize="medium")
    axes.tick_params(axis="y", length=0)
