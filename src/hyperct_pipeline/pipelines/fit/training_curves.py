"""Figure of a training: losses, mean validation AUROC by task group, and the size of the generated updates."""

from collections.abc import Mapping
from statistics import mean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hyperct_pipeline.evaluation.figures import NEUTRAL, group_colour

Row = Mapping[str, Any]
"""An epoch of the history; a value that is undefined is absent or None."""


def training_curves(rows: Mapping[str, Row], best: str, groups: Mapping[str, str]) -> Figure:
    """Three panels over epochs; the chosen epoch is marked.

    Args:
        rows: history of the epochs, in order.
        best: name of the chosen epoch.
        groups: group of each task.
    """
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    loss, auroc, updates = figure.subplots(1, 3)
    for key, label in {"train_loss": "train", "validation_loss": "validation"}.items():
        draw_line(loss, rows, {name: row.get(key) for name, row in rows.items()}, label=label)
    loss.set(title="Loss (binary cross-entropy)")
    chosen_by = {name: row.get("validation_auroc") for name, row in rows.items()}
    draw_line(auroc, rows, chosen_by, label="all that are judged", color="black")
    for group in dict.fromkeys(groups.values()):
        means = {name: group_mean(row, group, groups) for name, row in rows.items()}
        draw_line(auroc, rows, means, label=group, color=group_colour(group))
    auroc.set(title="Mean validation AUROC")
    for key, label in {"update_size/mlp_up": "|BA| / |W|, MLP up", "between_task_share": "share between tasks"}.items():
        draw_line(updates, rows, {name: row.get(key) for name, row in rows.items()}, label=label)
    updates.set(title="Updates")
    for axes in (loss, auroc, updates):
        mark_epoch(axes, rows[best]["epoch"])
        axes.set(xlabel="Epoch")
        if axes.get_legend_handles_labels()[1]:
            axes.legend(frameon=False)
    return figure


def group_mean(row: Row, group: str, groups: Mapping[str, str]) -> float | None:
    """Mean validation AUROC over the tasks of a group that have both classes; None where there is none."""
    areas = [row.get(f"validation_auroc/{task}") for task, own in groups.items() if own == group]
    defined = [float(area) for area in areas if area is not None]
    return mean(defined) if defined else None


def draw_line(axes: Axes, rows: Mapping[str, Row], values: Mapping[str, Any], **style: Any) -> None:
    """One value per epoch over the number of the epoch; an epoch without a value has no point."""
    points = [(row["epoch"], values[name]) for name, row in rows.items() if values[name] is not None]
    if points:
        axes.plot(*zip(*points, strict=True), marker=".", **style)


def mark_epoch(axes: Axes, epoch: int) -> None:
    """The epoch that was chosen, as a dashed line; epochs are whole numbers."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.axvline(epoch, color=NEUTRAL, lw=0.8, ls="--")
    axes.spines[["top", "right"]].set_visible(False)
