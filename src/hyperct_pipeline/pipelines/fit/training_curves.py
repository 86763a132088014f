"""Figure of a training: losses, mean validation AUROC, and the size of the generated updates."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure


def training_curves(rows: Mapping[str, Mapping[str, Any]], best: str) -> Figure:
    """Three panels over epochs; the chosen epoch is marked.

    Args:
        rows: history of the epochs, in order.
        best: name of the chosen epoch.
    """
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    panels = {
        "Loss (binary cross-entropy)": {"train_loss": "train", "validation_loss": "validation"},
        "Mean validation AUROC": {"validation_auroc": "AUROC"},
        "Updates": {"update_size/mlp_up": "|BA| / |W|, MLP up", "between_task_share": "share between tasks"},
    }
    for axes, (title, lines) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        for key, label in lines.items():
            points = [(row["epoch"], row[key]) for row in rows.values() if row.get(key) is not None]
            if points:
                axes.plot(*zip(*points, strict=True), marker=".", label=label)
        axes.axvline(rows[best]["epoch"], color="#6b7280", lw=0.8, ls="--")
        axes.set(title=title, xlabel="Epoch")
        axes.spines[["top", "right"]].set_visible(False)
        if axes.get_legend_handles_labels()[1]:
            axes.legend(frameon=False)
    return figure
