"""The LoRA analysis as a figure: tasks in the plane of the first two components, scree, cosines."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hyperct_pipeline.evaluation.figures import NEUTRAL, group_colour
from hyperct_pipeline.evaluation.lora_pca import ALL_SITES


def lora_pca_figure(pca: pd.DataFrame, similarity: pd.DataFrame, names: Mapping[str, str]) -> Figure:
    """PCA over all modules coloured by group and numbered by task, with scree, cosines and the key.

    Args:
        pca: `lora_pca.pca_table`; its rows of module `all` are drawn.
        similarity: `lora_pca.similarity_table`, in its own order of rows.
        names: task -> display name.
    """
    rows = pca[pca["module"] == ALL_SITES].reset_index(drop=True)
    explained = rows.filter(regex=r"^explained_pc\d+$").iloc[0].to_numpy(dtype=np.float64)
    figure = Figure(figsize=(14, 7.5), layout="constrained")
    grid = figure.add_gridspec(2, 3, width_ratios=(2.0, 1.15, 0.95))
    scatter, scree = figure.add_subplot(grid[:, 0]), figure.add_subplot(grid[0, 1])
    heat, key = figure.add_subplot(grid[1, 1]), figure.add_subplot(grid[:, 2])
    _scatter(scatter, rows, explained)
    _scree(scree, explained)
    _cosines(heat, figure, similarity[similarity["module"] == ALL_SITES], len(rows))
    key.axis("off")
    for at, row in enumerate(rows.itertuples()):
        height = 1.0 - (at + 0.5) / len(rows)
        text = f"{row.number}  {names[str(row.task)]}"
        key.text(0, height, text, color=group_colour(str(row.group)), fontsize=9, va="center")
    return figure


def _scatter(axes: Axes, rows: pd.DataFrame, explained: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
    second = rows["pc2"] if "pc2" in rows else rows["pc1"] * 0.0
    groups = list(dict.fromkeys(rows["group"]))
    axes.scatter(rows["pc1"], second, s=190, c=[group_colour(group) for group in rows["group"]], alpha=0.85)
    for number, x, y in zip(rows["number"], rows["pc1"], second, strict=True):
        axes.text(x, y, str(number), ha="center", va="center", fontsize=7.5, color="white", weight="bold")
    shares = [f" ({share:.0%} of variance)" if np.isfinite(share) else "" for share in explained[:2]] + [
        "",
        "",
    ]
    axes.set(xlabel=f"PC1{shares[0]}", ylabel=f"PC2{shares[1]}")
    axes.set_title("Weight updates s·B·A of all tasks", loc="left", fontsize=11)
    if not np.isfinite(explained).any():
        axes.set_title("All tasks have the same weight update: there is no variance", loc="left", fontsize=11)
    axes.axhline(0, color=NEUTRAL, lw=0.5)
    axes.axvline(0, color=NEUTRAL, lw=0.5)
    handles = [Line2D([], [], ls="", marker="o", color=group_colour(group), label=group) for group in groups]
    axes.legend(handles=handles, loc="best", frameon=False)
    axes.set_box_aspect(1)


def _scree(axes: Axes, explained: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
    components = np.arange(1, len(explained) + 1)
    shares = 100.0 * np.nan_to_num(explained)
    axes.bar(components, shares, color=NEUTRAL)
    axes.plot(components, shares.cumsum(), color="black", lw=1, marker=".", ms=4, label="cumulative")
    axes.set(xlabel="component", ylabel="variance (%)", ylim=(0, 105))
    axes.set_title("Scree, all components", loc="left", fontsize=10)
    axes.legend(loc="center right", frameon=False, fontsize=8)


def _cosines(axes: Axes, figure: Figure, pairs: pd.DataFrame, n_tasks: int) -> None:
    matrix = pairs["cosine"].to_numpy(dtype=np.float64).reshape(n_tasks, n_tasks)
    image = axes.imshow(matrix, cmap="RdBu_r", vmin=-1, vmax=1)
    ticks = np.arange(0, n_tasks, max(n_tasks // 6, 1))
    axes.set_xticks(ticks, [str(tick + 1) for tick in ticks], fontsize=8)
    axes.set_yticks(ticks, [str(tick + 1) for tick in ticks], fontsize=8)
    axes.set_title("Cosine between updates", loc="left", fontsize=10)
    figure.colorbar(image, ax=axes, shrink=0.85)
