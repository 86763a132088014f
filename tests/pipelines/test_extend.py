"""The `extend` pipeline: a package with one task more."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from pydantic import TypeAdapter

from hyperct_pipeline.errors import ConfigError, StoreError
from hyperct_pipeline.labels.tasks import TaskCatalogueConfig
from hyperct_pipeline.model.settings import BackboneConfig, HyperCTConfig
from hyperct_pipeline.pipelines.extend.nodes import extend_model
from hyperct_pipeline.training.checkpoint import ModelPackage, load_package, save_package, untrained_package
from hyperct_pipeline.training.settings import ExtendConfig, FitConfig
from hyperct_pipeline.volumes.slices import SliceConfig
from hyperct_pipeline.volumes.store import StoredVolume, VolumeStore

CONF = Path(__file__).parents[2] / "conf"
FIT = FitConfig(epochs=2, batch_size=4, tasks_per_scan=3, device="cpu")


@pytest.fixture
def catalogue() -> TaskCatalogueConfig:
    raw = yaml.safe_load((CONF / "base" / "parameters_tasks.yml").read_text())["task_catalogue"]
    return TypeAdapter(TaskCatalogueConfig).validate_python(raw | {"tasks": ("lung_nodule", "emphysema")})


@pytest.fixture
def store(tmp_path: Path) -> VolumeStore:
    store, rng = VolumeStore(tmp_path / "volumes"), np.random.default_rng(0)
    for number in range(14):
        hu = rng.integers(-1000, 1000, (6, 32, 32)).astype(np.int16)
        store.put(f"s{number:02d}", StoredVolume(hu, np.eye(4), (6, 32, 32), np.arange(6), "prepared-so"))
    return store


@pytest.fixture
def index() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "study_key": [f"s{number:02d}" for number in range(14)],
            "patient_key": [f"p{number:02d}" for number in range(14)],
            "split": ["train"] * 8 + ["validation"] * 6,
            "volume": [f"s{number:02d}" for number in range(14)],
            "volume_sha256": [f"d{number:02d}" for number in range(14)],
            "lung_nodule": pd.array(np.arange(14) % 2, dtype="Int8"),
            "emphysema": pd.array(np.arange(14) // 2 % 2, dtype="Int8"),
        }
    )


@pytest.fixture
def package() -> ModelPackage:
    backbone = BackboneConfig("vit_small_patch16_dinov3_qkvb", img_size=(32, 32), embed_dim=32, depth=1, num_heads=2)
    model = HyperCTConfig(rank=2, task_dim=8, latent=8, head_in=8, init="reference")
    return untrained_package(backbone, model, SliceConfig((32, 32), 2), {"lung_nodule": "radiological"}, "prepared-so")


def test_package_with_one_task_more(
    index: pd.DataFrame, store: VolumeStore, catalogue: TaskCatalogueConfig, package: ModelPackage, tmp_path: Path
) -> None:
    x, mask = torch.randn(2, 2, 3, 32, 32), torch.ones(2, 2, dtype=torch.bool)
    before = package.model.logits_all_tasks(x, mask)
    found = extend_model(package, index, store, catalogue, FIT, ExtendConfig(task="emphysema"))
    assert found.tasks == ("lung_nodule", "emphysema") and found.task_groups["emphysema"] == "radiological"
    assert found.trained_patients == tuple(f"p{number:02d}" for number in range(8))
    save_package(tmp_path / "extended", found)
    loaded = load_package(tmp_path / "extended").model
    after = loaded.logits_all_tasks(x, mask)
    assert torch.equal(after[:, :1], before) and not torch.equal(after[:, 1], after[:, 0])


def test_what_cannot_be_added(
    index: pd.DataFrame, store: VolumeStore, catalogue: TaskCatalogueConfig, package: ModelPackage, tmp_path: Path
) -> None:
    for task, message in (("", "extend.task is ''"), ("cardiomegaly", "extend.task is 'cardiomegaly'"),
                          ("lung_nodule", "has the task 'lung_nodule' already")):  # fmt: skip
        with pytest.raises(ConfigError, match=message):
            extend_model(package, index, store, catalogue, FIT, ExtendConfig(task=task))
    one_class = index.assign(emphysema=pd.array([1] * 14, dtype="Int8"))
    with pytest.raises(ConfigError, match="no training study is known to be negative for 'emphysema'"):
        extend_model(package, one_class, store, catalogue, FIT, ExtendConfig(task="emphysema"))
    hu = np.zeros((6, 32, 32), dtype=np.int16)
    store.put("s00", StoredVolume(hu, np.eye(4), (6, 32, 32), np.arange(6), "prepared-otherwise"))
    with pytest.raises(StoreError, match="prepared-otherwise"):
        extend_model(package, index, store, catalogue, FIT, ExtendConfig(task="emphysema"))


def test_several_processes_are_refused(
    package: ModelPackage, index: pd.DataFrame, store: VolumeStore, catalogue: TaskCatalogueConfig
) -> None:
    with pytest.raises(ConfigError, match="`extend` trains in one process"):
        extend_model(package, index, store, catalogue, replace(FIT, n_processes=2), ExtendConfig(task="emphysema"))
