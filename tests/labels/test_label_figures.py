import numpy as np
import pandas as pd

from hyperct_pipeline.labels.label_figures import (
    co_occurrence,
    co_occurrence_figure,
    echo_gap_figure,
    missingness_figure,
    structural_overlaps,
)
from hyperct_pipeline.labels.tasks import TaskCatalogue


def index(catalogue: TaskCatalogue) -> pd.DataFrame:
    matrix = pd.DataFrame({t: pd.array([1, 0, None, 1], "Int8") for t in catalogue.ids})
    matrix["emphysema"] = pd.array([None] * 4, "Int8")
    return pd.concat([pd.DataFrame({"study_key": list("abcd"), "cohort": ["x", "x", "y", None]}), matrix], axis=1)


def long(catalogue: TaskCatalogue) -> pd.DataFrame:
    rows = [
        (key, task, 1 if key != "c" else None, "measured" if key != "c" else reason, source, gap)
        for task in catalogue.ids
        for key, gap in (("a", -10), ("b", 170), ("c", None), ("d", 0))
        for source, reason in (("s", "not_measured"), ("t", "unmapped_text"))
    ]
    table = pd.DataFrame(rows, columns=["study_key", "task", "label", "reason", "source", "echo_gap_days"])
    return table.astype({"label": "Int8", "echo_gap_days": "Int64"})


def test_co_occurrence_by_hand() -> None:
    matrix = pd.DataFrame({"a": [1, 1, 1, 0, None], "b": [1, 0, None, 1, 1], "c": [None] * 5}, dtype="Int8")
    share = co_occurrence(matrix)
    np.testing.assert_allclose(share[:2, :2], [[1, 1 / 2], [1 / 2, 1]])
    assert np.isnan(share[2]).all()


def test_tasks_that_share_an_input_are_marked(catalogue: TaskCatalogue) -> None:
    names = [(catalogue.ids[i], catalogue.ids[j]) for i, j in structural_overlaps(catalogue.tasks)]
    la, ra = "left_atrial_filling_pressure", "right_atrial_filling_pressure"
    assert set(names) == {
        (la, ra), (ra, la), (la, "atrial_chamber_enlargement"), ("atrial_chamber_enlargement", la),
    }  # fmt: skip


def report(catalogue: TaskCatalogue) -> pd.DataFrame:
    rows = [("task", t, "", r, n) for t in catalogue.ids for r, n in (("1", 2), ("0", 1), ("unmapped_text", 1))]
    return pd.DataFrame(rows, columns=["section", "item", "split", "reason", "count"])


def test_missingness_shows_share_and_reason(catalogue: TaskCatalogue) -> None:
    left, right = missingness_figure(report(catalogue), index(catalogue), catalogue).axes
    assert [text.get_text() for text in left.get_xticklabels()] == ["(no cohort)", "x", "y"]
    assert {(text.get_position()[0], text.get_text()) for text in right.texts} == {(4, "25")}
    row = catalogue.ids.index("emphysema")
    assert [t.get_text() for t in left.texts if t.get_position()[1] == row] == ["100", "100", "100"]


def test_gaps_count_each_study_once(catalogue: TaskCatalogue) -> None:
    (axes,) = echo_gap_figure(long(catalogue), index(catalogue), (30, 180)).axes
    assert sum(patch.get_height() for patch in axes.patches) == 3
    assert "3 of 4 studies" in [text.get_text() for text in axes.texts]


def test_figures_of_nothing_are_drawn(catalogue: TaskCatalogue) -> None:
    nothing, none = long(catalogue).iloc[:0], index(catalogue).iloc[:0]
    missingness_figure(report(catalogue).iloc[:0], none, catalogue)
    co_occurrence_figure(none, catalogue)
    echo_gap_figure(nothing, none, (30,))
