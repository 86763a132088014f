"""Figures say what their tables say."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hyperct_pipeline.evaluation import decision_figures, figures, lora_pca
from hyperct_pipeline.evaluation.assess_settings import AssessConfig
from hyperct_pipeline.evaluation.assessment import assess
from hyperct_pipeline.evaluation.comparison_figure import comparison_figure
from hyperct_pipeline.evaluation.examples import Example, ExplainConfig
from hyperct_pipeline.evaluation.group_separation import separation_table
from hyperct_pipeline.evaluation.lora_figure import lora_pca_figure, spread
from hyperct_pipeline.evaluation.saliency import saliency_maps
from hyperct_pipeline.evaluation.saliency_figures import explained, saliency_overview, tile
from hyperct_pipeline.evaluation.task_rows import groups_of
from hyperct_pipeline.evaluation.update_grams import gram_matrices
from hyperct_pipeline.volumes.store import StoredVolume

GROUPS = {"nodule": "radiological", "effusion": "radiological", "low_lvef": "cardiac", "dilated": "cardiac"}
NAMES = {task: task.capitalize() for task in GROUPS}
CONFIG = AssessConfig(bootstrap_draws=20)


def metrics_of(table: pd.DataFrame, groups: dict[str, str], config: AssessConfig) -> pd.DataFrame:
    return assess(table, groups_of(table, groups), config).metrics


def curves_of(table: pd.DataFrame, groups: dict[str, str], config: AssessConfig) -> pd.DataFrame:
    return assess(table, groups_of(table, groups), config).curves


def _texts(figure: Figure) -> str:
    FigureCanvasAgg(figure).draw()  # pytest turns any warning of the layout into an error
    return "\n".join(text.get_text() for axes in figure.axes for text in axes.texts)


def test_forest_lists_undefined_tasks_and_hollows_small_ones(assessed: pd.DataFrame) -> None:
    table = metrics_of(assessed, GROUPS, CONFIG)
    figure = figures.auroc_figure(table, NAMES, "validation split", AssessConfig(confidence_level=0.9))
    texts = _texts(figure)
    assert figure.axes[0].get_xlabel() == "AUROC (90 % interval, patient-clustered)"
    assert figure.axes[0].get_title(loc="left") == "Discrimination on the validation split, all cohorts together"
    assert "undefined: one class only" in texts
    assert "undefined: no known label" in texts
    auc = table[(table["cohort"] == "all") & (table["metric"] == "auc")].set_index("task")
    drawn = {
        float(line.get_xdata()[0]): line.get_markerfacecolor()
        for line in figure.axes[0].lines
        if line.get_marker() == "o"
    }
    assert drawn == {auc.loc["nodule", "value"]: "#0072B2", auc.loc["effusion", "value"]: "white"}


def test_forest_says_where_there_is_no_interval(assessed: pd.DataFrame) -> None:
    constant = assessed[assessed["task"] == "nodule"].assign(probability=0.25)
    texts = _texts(figures.auroc_figure(metrics_of(constant, GROUPS, CONFIG), NAMES, "test split", CONFIG))
    assert "0.50   n+" in texts
    assert texts.count("no interval") == 1


def test_calibration_has_a_panel_per_task(assessed: pd.DataFrame) -> None:
    figure = figures.calibration_figure(assessed, NAMES, CONFIG)
    assert [axes.get_title() for axes in figure.axes if axes.get_visible()] == list(NAMES.values())
    assert _texts(figure).count("slope undefined") == 2  # one class, no labels
    assert "on the test split:" in figure.get_suptitle()
    elsewhere = figures.calibration_figure(assessed.assign(split=None), NAMES, CONFIG)
    assert "on the whole table:" in elsewhere.get_suptitle()


def test_decision_panels(assessed: pd.DataFrame) -> None:
    table = curves_of(assessed, GROUPS, CONFIG)
    rows = table[(table["cohort"] == "prospective_a") & (table["task"] != "effusion")]
    figure = decision_figures.decision_curve_figure(rows, NAMES, "prospective_a", "80 %")
    texts = _texts(figure)
    assert "undefined: no known label" in texts
    assert "(one class)" in texts
    nodule = rows[rows["task"] == "nodule"]
    (model,) = (line for line in figure.axes[0].lines if line.get_label() == "model, recalibrated (80 % band)")
    np.testing.assert_array_equal(model.get_ydata(), nodule["net_benefit_recalibrated"])


def test_lora_figure_draws_every_task() -> None:
    a, b = torch.randn(4, 2, 2, 8), torch.randn(4, 2, 6, 2)
    tasks = list(GROUPS)
    for second in (b, torch.zeros_like(b)):
        grams = gram_matrices({"q": (a, second)}, 1.0)
        table = pd.concat(
            [lora_pca.pca_table(grams, tasks, GROUPS).assign(weights=w) for w in ("trained", "untrained")]
        )
        separation = separation_table(grams, [grams], tasks, GROUPS)
        figure = lora_pca_figure(table, lora_pca.similarity_table(grams, tasks), separation, NAMES)
        texts = _texts(figure)
        assert all(name in texts for name in NAMES.values())
        points = figure.axes[0].collections[0].get_offsets()
        own = table[(table["module"] == "all") & (table["weights"] == "trained")]
        np.testing.assert_allclose(points, own[["pc1", "pc2"]])
    assert "no variance" in figure.axes[0].get_title(loc="left")


def test_labels_of_points_in_one_place_do_not_cover_each_other() -> None:
    place = spread(np.full((6, 2), 0.5), 0.05)
    distance = np.linalg.norm(place[:, None] - place[None], axis=2) + np.eye(6)
    assert distance.min() > 0.03
    assert np.linalg.norm(place - 0.5, axis=1).min() > 0.03


def test_a_comparison_writes_p_as_the_table_beside_it() -> None:
    rows = [
        {"task": "nodule", "group": "radiological", "delta_auc": 0.15, "ci_low": 0.1, "ci_high": 0.2, "p_holm": 1e-5},
        {"task": "low_lvef", "group": "cardiac", "delta_auc": 0.06, "ci_low": -0.1, "ci_high": 0.2, "p_holm": 0.4383},
    ]
    table = pd.DataFrame(rows).assign(rival="single_task", model="hyperct", status="ok")
    texts = _texts(comparison_figure(table, NAMES, "95 %"))
    assert "+0.150   Holm p < 0.001" in texts and "+0.060   Holm p 0.438" in texts


def test_numbers_of_points_at_the_edge_stay_within_the_frame() -> None:
    edge = np.array([[0.0, 0.5], [1.0, 0.5], [0.5, 0.0], [0.5, 1.0], [1.0, 1.0], [0.99, 0.98]])
    place = spread(edge, 0.08, margin=0.04)
    assert place.min() >= 0.04 and place.max() <= 0.96


def test_montage_and_overview(package: SimpleNamespace, stored: StoredVolume) -> None:
    store = SimpleNamespace(get=lambda key: stored)
    example = Example("bright", "s1", 1, 0.625)
    (part,) = explained(package, store, [example], {"bright": "Bright"}, torch.device("cpu"), ExplainConfig(n_slices=5))
    assert part.peak.slice_index in (6, 7, 8)
    title = part.figure.get_suptitle()
    assert "probability 0.62" in title and "label positive" in title and "study s1" in title
    _texts(part.figure)
    overview = saliency_overview([part.peak], {"bright": "Bright"}, (-1000, 400))
    _texts(overview)
    assert overview.axes[0].get_title() == f"Bright\np 0.62, positive, slice {part.peak.slice_index}"
    for figure in (part.figure, overview):
        right, left = (t for t in figure.axes[0].texts if t.get_text() in ("R", "L"))
        assert (right.get_text(), left.get_text()) == ("R", "L")
        assert right.get_position()[0] < 0.1 and left.get_position()[0] > 0.9  # as a radiologist sees the patient
        caption = figure.get_supxlabel()
        assert "Maps of 4 \u00d7 4 patches, interpolated." in caption and "slices count from the feet" in caption


def test_slices_never_seen_are_marked_and_the_front_is_up(package: SimpleNamespace, stored: StoredVolume) -> None:
    saliency = next(saliency_maps(package, stored, ["bright"], torch.device("cpu")))
    example = Example("bright", "s1", None, 0.5)
    dropped, cube = (tile(saliency, stored, example, index) for index in (0, 7))
    assert dropped.hu is None and not dropped.is_seen
    assert "not seen by the model" in _texts(saliency_overview([dropped], {"bright": "Bright"}, (-1000, 400)))
    # the cube is at the patient's back (low y) and right (high x): shown low, and on the viewer's left
    rows, columns = np.nonzero(cube.hu > 0)
    assert rows.mean() > 18 > columns.mean()


def test_a_flat_recalibration_is_not_the_decision_curve(assessed: pd.DataFrame) -> None:
    flat = assessed[assessed["task"] == "nodule"].assign(probability_calibrated=0.3)
    table = curves_of(flat, GROUPS, CONFIG)
    assert table["recalibration_is_flat"].all()
    assert not curves_of(assessed, GROUPS, CONFIG)["recalibration_is_flat"].any()
    rows = table[table["cohort"] == "all"]
    figure = decision_figures.decision_curve_figure(rows, NAMES, "all", "95 %")
    assert "recalibration flat, not drawn" in _texts(figure)
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert "model, recalibrated (95 % band)" not in lines
    np.testing.assert_array_equal(lines["model (95 % band)"].get_ydata(), rows["net_benefit"])
    figure = figures.calibration_figure(flat, NAMES, CONFIG)
    assert "recalibration flat" in _texts(figure)
    assert [len(points.get_offsets()) for points in figure.axes[0].collections] == [CONFIG.reliability_bins, 1]
