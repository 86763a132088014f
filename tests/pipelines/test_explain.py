"""The `explain` pipeline on a model whose updates differ between tasks."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from matplotlib.figure import Figure
from pydantic import TypeAdapter
from scipy.stats import spearmanr

from hyperct_pipeline.errors import PackageError
from hyperct_pipeline.evaluation.control_models import random_model, untrained_model
from hyperct_pipeline.evaluation.examples import ExplainConfig, check_model
from hyperct_pipeline.evaluation.saliency import grad_cam
from hyperct_pipeline.labels.tasks import load_catalogue
from hyperct_pipeline.model.hyperct import HyperCT
from hyperct_pipeline.model.settings import BackboneConfig, HyperCTConfig
from hyperct_pipeline.pipelines.explain import create_pipeline
from hyperct_pipeline.training.checkpoint import ModelPackage, untrained_package
from hyperct_pipeline.volumes.slices import SliceConfig, triplets
from hyperct_pipeline.volumes.store import StoredVolume, VolumeStore
from hyperct_pipeline.volumes.volume import ScalarVolume

CONF = Path(__file__).parents[2] / "conf"
CATALOGUE = load_catalogue(yaml.safe_load((CONF / "base" / "parameters_tasks.yml").read_text())["task_catalogue"])
GROUPS = {"lung_nodule": "radiological", "emphysema": "radiological", "pulmonary_hypertension": "cardiac"}


def _package() -> ModelPackage:
    backbone = BackboneConfig(
        name="vit_small_patch16_dinov3_qkvb", img_size=(32, 32), embed_dim=32, depth=2, num_heads=2
    )
    model = HyperCTConfig(rank=2, task_dim=8, latent=16, head_in=12)
    package = untrained_package(backbone, model, SliceConfig(crop_yx=(32, 32), n_triplets=3), GROUPS, "d1")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # as after a training: updates of a size that shows in the maps
        for parameter in package.model.hypernetwork.heads.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    return package


@pytest.fixture
def outputs(tmp_path: Path) -> dict[str, Any]:
    store, rng = VolumeStore(tmp_path), np.random.default_rng(0)
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    for key in ("s1", "s2"):
        hu = rng.integers(-1000, 1000, (9, 40, 40)).astype(np.int16)
        store.put(key, StoredVolume(hu, affine, (11, 40, 40), np.arange(1, 10), "d1"))
    predictions = pd.DataFrame(
        {
            "study_key": ["s1", "s2"] * 3,
            "split": "test",
            "task": np.repeat(list(GROUPS), 2),
            "label": pd.array([1, 1, 0, 1, None, None], dtype="Int8"),
            "probability": [0.2, 0.9, 0.8, 0.1, 0.5, 0.5],
            "model_id": _package().model_id,
        }
    )
    inputs = {
        "model_package": _package(),
        "volume_store": store,
        "predictions@own": predictions,
        "params:task_catalogue": CATALOGUE,
        "params:explain": ExplainConfig(n_slices=4, device="cpu"),
    }
    catalog = DataCatalog({name: MemoryDataset(value, copy_mode="assign") for name, value in inputs.items()})
    return {k: dataset.load() for k, dataset in SequentialRunner().run(create_pipeline(), catalog).items()}


def test_saliency_of_the_chosen_studies(outputs: dict[str, Any]) -> None:
    names = ["s2__lung_nodule", "s2__emphysema", "s1__pulmonary_hypertension"]
    assert list(outputs["saliency"]) == names
    assert list(outputs["saliency_figures"]) == names
    volume: ScalarVolume = outputs["saliency"][names[0]]
    seen = np.isfinite(volume.values)
    assert seen.shape == (11, 40, 40)
    assert seen[1:-1, 4:-4, 4:-4].all()
    assert seen.sum() == 9 * 32 * 32
    np.testing.assert_array_equal(volume.affine, np.diag([2.0, 2.0, 3.0, 1.0]))
    titles = [axes.get_title() for axes in outputs["saliency_overview"].axes if axes.get_title()]
    expected = ["Lung nodule\np 0.90, positive", "Emphysema\np 0.10, positive", f"{_name()}\np 0.50, unknown"]
    assert [title.rsplit(", slice ", 1)[0] for title in titles] == expected
    slices = [int(title.rsplit(", slice ", 1)[1]) for title in titles]
    peaks = [int(np.unravel_index(np.nanargmax(m.values), m.values.shape)[0]) for m in outputs["saliency"].values()]
    assert slices == peaks


def _map(model: HyperCT, stored: StoredVolume, task: str) -> np.ndarray:
    """Grad-CAM of one task at every patch that the model saw."""
    images, mask = triplets(stored.hu, _package().slice_config, None)
    cam, _ = grad_cam(model, torch.from_numpy(images)[None], torch.from_numpy(mask)[None], list(GROUPS).index(task))
    return cam[mask].detach().numpy().ravel()


def test_every_map_is_checked_against_untrained_and_random_models_and_another_task(
    outputs: dict[str, Any], tmp_path: Path
) -> None:
    checks = outputs["saliency_checks"].set_index("task")
    assert checks["study_key"].tolist() == ["s2", "s2", "s1"]
    assert checks["swapped_task"].tolist() == ["pulmonary_hypertension"] * 2 + ["lung_nodule"]
    assert (checks["n_patches"] == 3 * 4).all()
    package, store = _package(), VolumeStore(tmp_path)
    untrained, random = untrained_model(package), random_model(package)
    for task, row in checks.iterrows():
        stored = store.get(row["study_key"])
        own = _map(package.model, stored, task)
        others = {
            "untrained": _map(untrained, stored, task),
            "random": _map(random, stored, task),
            "swapped": _map(package.model, stored, row["swapped_task"]),
        }
        for name, other in others.items():
            assert row[f"rank_correlation_{name}"] == pytest.approx(spearmanr(own, other).statistic, abs=1e-6)
    # the three checks are of three things
    columns = checks[[f"rank_correlation_{name}" for name in ("untrained", "random", "swapped")]]
    assert columns.nunique(axis=1).eq(3).all() and (columns.max() < 0.99).all()


def test_predictions_of_another_model_are_not_explained() -> None:
    check_model(pd.DataFrame({"model_id": ["m1", None]}), "m1")
    with pytest.raises(PackageError, match=r"predictions are of model \['m2'\], the model package is m1"):
        check_model(pd.DataFrame({"model_id": ["m2"]}), "m1")


def _name() -> str:
    return CATALOGUE.name_of("pulmonary_hypertension")


def test_adapters_equal_the_materialised_updates(outputs: dict[str, Any]) -> None:
    model = _package().model
    with torch.no_grad():
        adapters = model.adapters(torch.arange(3))
        flat = torch.cat([(model.scale * b.double() @ a.double()).flatten(1) for a, b in adapters.values()], dim=1)
    distances = torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist").numpy()
    similarity = outputs["lora_similarity"]
    whole = similarity[similarity["module"] == "all"]
    np.testing.assert_allclose(whole["distance"].to_numpy().reshape(3, 3), distances, atol=1e-6)
    table = outputs["lora_pca"]
    points = table.loc[(table["module"] == "all") & (table["weights"] == "trained"), ["pc1", "pc2"]].to_numpy()
    np.testing.assert_allclose(np.linalg.norm(points[0] - points[2]), distances[0, 2], rtol=1e-6)
    assert set(table["module"]) == {"all", *adapters, "layer 0", "layer 1"}
    assert set(table["model_id"]) == {_package().model_id}
    separation = outputs["lora_separation"].set_index(["weights", "module"])
    assert separation.loc[("trained", "all"), "n_divisions"] == 3
    trained, untrained = (separation.loc[(weights, "all"), "share_between"] for weights in ("trained", "untrained"))
    assert 0.0 < untrained < 1.0 and abs(trained - untrained) > 0.01
    assert isinstance(outputs["lora_pca_figure"], Figure)


def test_the_configured_parameters_are_valid() -> None:
    raw = yaml.safe_load((CONF / "base" / "parameters_explain.yml").read_text())["explain"]
    assert TypeAdapter(ExplainConfig).validate_python(raw).tasks == ("all",)
