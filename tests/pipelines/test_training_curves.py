"""Figures of a training show the numbers of its history, and nothing where there is none."""

from typing import Any

import pytest
from matplotlib.figure import Figure

from hyperct_pipeline.pipelines.fit.task_curves import task_curves
from hyperct_pipeline.pipelines.fit.training_curves import group_mean, training_curves

GROUPS = {"nodule": "radiological", "effusion": "radiological", "dilated": "cardiac", "one_class": "cardiac"}
NAMES = {task: task.title() for task in GROUPS}
ROWS: dict[str, dict[str, Any]] = {
    "epoch_001": {"epoch": 1, "train_loss": 0.8, "train_loss/nodule": 0.7, "train_loss/one_class": None},
    "epoch_002": {
        "epoch": 2, "train_loss": 0.6, "train_loss/nodule": 1.6, "validation_loss": 0.65, "validation_auroc": 0.7,
        "validation_auroc/nodule": 0.9, "validation_auroc/effusion": 0.5, "validation_auroc/dilated": 0.8,
        "validation_auroc/one_class": None,
    },
}  # fmt: skip


def lines(figure: Figure, panel: int) -> list[list[tuple[float, float]]]:
    """Points of the lines of a panel with more than a reference level."""
    drawn = figure.axes[panel].get_lines()
    return [list(map(tuple, line.get_xydata())) for line in drawn if line.get_marker() == "."]


@pytest.mark.parametrize(
    ("row", "group", "expected"),
    [
        ("epoch_002", "radiological", 0.7),
        ("epoch_002", "cardiac", 0.8),  # the task of one class does not count, and is not 0 or 0.5
        ("epoch_001", "cardiac", None),
    ],
)
def test_mean_of_a_group(row: str, group: str, expected: float | None) -> None:
    assert group_mean(ROWS[row], group, GROUPS) == (expected if expected is None else pytest.approx(expected))


def test_losses_and_means_by_group() -> None:
    figure = training_curves(ROWS, "epoch_002", GROUPS)
    assert lines(figure, 0) == [[(1, 0.8), (2, 0.6)], [(2, 0.65)]]
    assert [line[0][1] for line in lines(figure, 1)] == pytest.approx([0.7, 0.7, 0.8])
    legend = [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
    assert legend == ["all that are judged", "radiological", "cardiac"]
    assert figure.axes[2].get_legend() is None


def test_epochs_are_whole_numbers_on_the_axis() -> None:
    rows = {f"epoch_{k:03d}": {"epoch": k, "train_loss": 1.0 / k} for k in range(1, 19)}
    for axes in training_curves(rows, "epoch_018", GROUPS).axes:
        assert all(float(tick).is_integer() for tick in axes.get_xticks())


def test_one_panel_per_task() -> None:
    figure = task_curves(ROWS, "epoch_002", GROUPS, NAMES)
    assert [axes.get_title() for axes in figure.axes if axes.get_visible()] == list(NAMES.values())
    assert lines(figure, 0) == [[(1, 0.7), (2, 1.6)], [(2, 0.9)]]
    assert lines(figure, 1) == [[(2, 0.5)]]
    assert lines(figure, 3) == [] and figure.axes[3].texts[0].get_text() == "AUROC undefined"
    assert not figure.axes[0].texts
    assert figure.axes[0].get_ylim() == pytest.approx((0.0, 1.68))  # the highest loss is inside
