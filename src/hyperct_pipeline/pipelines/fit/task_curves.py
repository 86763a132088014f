"""Figure of a training, task by task: the loss of the drawn pairs, and the AUROC of the validation studies."""

import math
from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hyperct_pipeline.evaluation.figures import NEUTRAL, group_colour
from hyperct_pipeline.pipelines.fit.training_curves import Row, draw_line, mark_epoch

_COLUMNS = 5
_LOSS = "black"


def task_curves(rows: Mapping[str, Row], best: str, groups: Mapping[str, str], names: Mapping[str, str]) -> Figure:
    """One small panel per task over the same epochs and the same scale; the chosen epoch is marked.

    A task whose AUROC no epoch defines says so in its panel.

    Args:
        rows: history of the epochs, in order.
        best: name of the chosen epoch.
        groups: group of each task, in the order of the panels.
        names: of the tasks, for people.
    """
    n_rows = math.ceil(len(groups) / _COLUMNS)
    figure = Figure(figsize=(13, 0.8 + 2.0 * n_rows), layout="constrained")
    panels = figure.subplots(n_rows, _COLUMNS, sharex=True, sharey=True, squeeze=False).ravel()
    losses = [row.get(f"train_loss/{task}") for row in rows.values() for task in groups]
    highest = max([1.0, *(float(loss) for loss in losses if loss is not None)])
    for axes, (task, group) in zip(panels, groups.items(), strict=False):
        axes.set_title(names[task], fontsize=9)
        axes.set(ylim=(0.0, 1.05 * highest))
        axes.axhline(0.5, color=NEUTRAL, lw=0.6, ls=":")
        mark_epoch(axes, rows[best]["epoch"])
        _draw(axes, rows, task, group)
    for axes in panels[len(groups) :]:
        axes.set_visible(False)
    figure.supxlabel("Epoch", fontsize=10)
    handles = [Line2D([], [], color=_LOSS, lw=0.9, label="training loss (binary cross-entropy)")]
    handles += [
        Line2D([], [], color=group_colour(group), marker=".", label=f"validation AUROC, {group}")
        for group in dict.fromkeys(groups.values())
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False)
    return figure


def _draw(axes: Axes, rows: Mapping[str, Row], task: str, group: str) -> None:
    losses = {name: row.get(f"train_loss/{task}") for name, row in rows.items()}
    areas = {name: row.get(f"validation_auroc/{task}") for name, row in rows.items()}
    draw_line(axes, rows, losses, color=_LOSS, lw=0.9, ms=2)
    draw_line(axes, rows, areas, color=group_colour(group))
    if all(area is None for area in areas.values()):
        axes.text(0.5, 0.05, "AUROC undefined", transform=axes.transAxes, ha="center", fontsize=8, style="italic")
