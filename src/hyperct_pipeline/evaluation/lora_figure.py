"""The LoRA analysis as a figure: tasks in the plane of the first two components, scree, cosines, untrained control."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from hyperct_pipeline.evaluation.adapter_names import ALL_SITES, TRAINED, UNTRAINED
from hyperct_pipeline.evaluation.figures import NEUTRAL, group_colour
from hyperct_pipeline.evaluation.lora_pca import linkage_order

LABEL_GAP = 0.042  # of the axes' width, between the numbers of neighbouring points


def lora_pca_figure(
    pca: pd.DataFrame, similarity: pd.DataFrame, separation: pd.DataFrame, names: Mapping[str, str]
) -> Figure:
    """PCA over all modules coloured by group and numbered by task, with the control, scree, cosines and the key.

    Args:
        pca: `lora_pca.pca_table` of both models, told apart by `weights`; its rows of module `all` are drawn.
        similarity: `lora_pca.similarity_table` of the trained one, in its own order of rows.
        separation: `group_separation.separation_table`.
        names: task -> display name.
    """
    whole = pca[pca["module"] == ALL_SITES]
    rows, control = (whole[whole["weights"] == w].reset_index(drop=True) for w in (TRAINED, UNTRAINED))
    figure = Figure(figsize=(16, 10.5), layout="constrained")
    grid = figure.add_gridspec(3, 3, width_ratios=(2.1, 1.25, 0.8), height_ratios=(1.2, 1.35, 0.55))
    scatter, key = figure.add_subplot(grid[:, 0]), figure.add_subplot(grid[:, 2])
    untrained, heat, scree = (figure.add_subplot(grid[k, 1]) for k in range(3))
    _scatter(scatter, rows, "Weight updates s·B·A of all tasks" + _separation(separation, TRAINED), 9.0)
    _scatter(untrained, control, "Control: untrained weights" + _separation(separation, UNTRAINED), 6.0)
    _scree(scree, rows, control)
    _cosines(heat, figure, similarity[similarity["module"] == ALL_SITES], len(rows))
    key.axis("off")
    for at, row in enumerate(rows.itertuples()):
        height = 1.0 - (at + 0.5) / len(rows)
        text = f"{row.number}  {names[str(row.task)]}"
        key.text(0, height, text, color=group_colour(str(row.group)), fontsize=9, va="center")
    return figure


def _separation(separation: pd.DataFrame, weights: str) -> str:
    """The exact test in one line; nothing where there are not two groups or no variance."""
    found = separation[(separation["weights"] == weights) & (separation["module"] == ALL_SITES)]
    if found.empty or pd.isna(found["p"].iloc[0]):
        return ""
    row = found.iloc[0]
    return f"\ngroups explain {row['share_between']:.0%} of variance, relabelling p {row['p']:.2g}"


def _explained(rows: pd.DataFrame) -> NDArray[np.float64]:
    return rows.filter(regex=r"^explained_pc\d+$").iloc[0].to_numpy(dtype=np.float64)


def _scatter(axes: Axes, rows: pd.DataFrame, title: str, size: float) -> None:
    explained = _explained(rows)
    points = np.stack([rows["pc1"], rows["pc2"] if "pc2" in rows else rows["pc1"] * 0.0], axis=1)
    groups = list(dict.fromkeys(rows["group"]))
    axes.scatter(points[:, 0], points[:, 1], s=5 * size, c=[group_colour(g) for g in rows["group"]], alpha=0.85)
    shares = [f" ({share:.0%} of variance)" if np.isfinite(share) else "" for share in explained[:2]] + ["", ""]
    axes.set(xlabel=f"PC1{shares[0]}", ylabel=f"PC2{shares[1]}")
    if not np.isfinite(explained).any():
        title = "All tasks have the same weight update: there is no variance"
    axes.set_title(title, loc="left", fontsize=10)
    axes.axhline(0, color=NEUTRAL, lw=0.5)
    axes.axvline(0, color=NEUTRAL, lw=0.5)
    # one scale for both axes: near in the drawing is near in the weights
    middle, half = (
        (points.max(axis=0) + points.min(axis=0)) / 2.0,
        0.6 * max(float(np.ptp(points, axis=0).max()), 1e-12),
    )
    axes.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half))
    handles = [Line2D([], [], ls="", marker="o", color=group_colour(group), label=group) for group in groups]
    axes.legend(handles=handles, loc="best", frameon=False, fontsize=size)
    axes.set_box_aspect(1)
    _number(axes, rows, points, size)


def _number(axes: Axes, rows: pd.DataFrame, points: NDArray[np.float64], size: float) -> None:
    """A number beside each point, pushed apart from the others, with a line back to its point."""
    low, high = np.array([axes.get_xlim(), axes.get_ylim()]).T
    at = (points - low) / (high - low)
    gap = LABEL_GAP * (1.0 if size > 8 else 1.8)
    place = spread(at, gap, margin=gap / 2.0)  # a number is about as wide as the gap, and stays within the frame
    for number, group, (x, y), (u, v) in zip(rows["number"], rows["group"], at, place, strict=True):
        colour = group_colour(str(group))
        axes.plot([x, u], [y, v], color=colour, lw=0.5, alpha=0.6, transform=axes.transAxes)
        axes.text(u, v, str(number), transform=axes.transAxes, ha="center", va="center", fontsize=size, color=colour)


def spread(points: NDArray[np.float64], gap: float, steps: int = 300, margin: float = 0.01) -> NDArray[np.float64]:
    """Places for labels, (n, 2) in units of the axes: near their points, at least about `gap` from points and labels,
    and at least `margin` from the frame.

    Deterministic: labels start around their points in turn and are pushed apart step by step.
    """
    angle = 2.0 * np.pi * np.arange(len(points)) / 1.618
    place = np.clip(points + gap * np.stack([np.cos(angle), np.sin(angle)], axis=1), margin, 1.0 - margin)
    for _ in range(steps):
        others = np.concatenate([place, points])
        apart = place[:, None] - others[None]  # (n, 2 n, 2)
        distance = np.linalg.norm(apart, axis=2)
        distance[np.arange(len(points)), np.arange(len(points))] = np.inf
        push = np.clip(gap - distance, 0.0, None) / np.maximum(distance, 1e-9)
        move = (push[..., None] * apart).sum(axis=1)
        if np.abs(move).max(initial=0.0) < 1e-4:
            break
        place = np.clip(place + 0.3 * move, margin, 1.0 - margin)
    return place


def _scree(axes: Axes, rows: pd.DataFrame, control: pd.DataFrame) -> None:
    explained = 100.0 * np.nan_to_num(_explained(rows))
    components = np.arange(1, len(explained) + 1)
    axes.bar(components, explained, color=NEUTRAL, label="trained")
    axes.plot(components, 100.0 * np.nan_to_num(_explained(control)), ".", color="#D55E00", ms=4, label="untrained")
    axes.plot(components, explained.cumsum(), color="black", lw=1, marker=".", ms=3, label="trained, cumulative")
    axes.set(xlabel="component", ylabel="variance (%)", ylim=(0, 105))
    axes.set_title("Scree, all components", loc="left", fontsize=10)
    axes.legend(loc="center right", frameon=False, fontsize=8)


def _cosines(axes: Axes, figure: Figure, pairs: pd.DataFrame, n_tasks: int) -> None:
    """Cosines with the tasks in the order of average linkage of their distances, so that clusters are blocks."""
    cosine, distance = (
        pairs[name].to_numpy(dtype=np.float64).reshape(n_tasks, n_tasks) for name in ("cosine", "distance")
    )
    order = linkage_order(distance)
    matrix = cosine[np.ix_(order, order)]
    span = max(float(np.nanmax(np.abs(matrix - 1.0), initial=0.0)), 1e-12) if np.isfinite(matrix).any() else 1.0
    low = max(-1.0, 1.0 - span)  # updates that share most of themselves differ only near 1
    image = axes.imshow(matrix, cmap="viridis", vmin=low, vmax=1.0)
    axes.set_xticks(range(n_tasks), [str(k + 1) for k in order], fontsize=6, rotation=90)
    axes.set_yticks(range(n_tasks), [str(k + 1) for k in order], fontsize=6)
    axes.set_title("Cosine, ordered by linkage", loc="left", fontsize=10)
    figure.colorbar(image, ax=axes, shrink=0.85)
