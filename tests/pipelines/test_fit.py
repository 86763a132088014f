"""The `fit` pipeline: which studies are taken, resuming, the best epoch, and the package it leaves."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from matplotlib.figure import Figure
from pydantic import TypeAdapter

from hyperct_pipeline.errors import LabelTableError, StoreError
from hyperct_pipeline.labels.tasks import TaskCatalogueConfig, load_catalogue
from hyperct_pipeline.model.settings import BackboneConfig, HyperCTConfig
from hyperct_pipeline.pipelines.fit import create_pipeline
from hyperct_pipeline.pipelines.fit.nodes import draw_training, fit_hyperct, select_best
from hyperct_pipeline.pipelines.fit.studies import labelled_studies
from hyperct_pipeline.training.checkpoint import Checkpoint
from hyperct_pipeline.training.settings import FitConfig
from hyperct_pipeline.volumes.preprocessing import PreprocessConfig
from hyperct_pipeline.volumes.slices import SliceConfig
from hyperct_pipeline.volumes.store import StoredVolume, VolumeStore

CONF = Path(__file__).parents[2] / "conf"
TASKS = ("lung_nodule", "cardiomegaly")
PREPROCESS = PreprocessConfig(shape_zyx=(6, 32, 32))
SETTINGS: dict[str, Any] = {
    "preprocess": PREPROCESS,
    "slices": SliceConfig(crop_yx=(32, 32), n_triplets=2),
    "backbone": BackboneConfig(
        name="vit_small_patch16_dinov3_qkvb", img_size=(32, 32), embed_dim=32, depth=1, num_heads=2
    ),
    "model": HyperCTConfig(rank=2, task_dim=8, latent=8, head_in=8),
    "config": FitConfig(epochs=2, batch_size=4, lr=1e-3, device="cpu"),
}


@pytest.fixture
def catalogue() -> TaskCatalogueConfig:
    raw = yaml.safe_load((CONF / "base" / "parameters_tasks.yml").read_text())["task_catalogue"]
    return TypeAdapter(TaskCatalogueConfig).validate_python(raw | {"tasks": TASKS})


@pytest.fixture
def store(tmp_path: Path) -> VolumeStore:
    store, rng = VolumeStore(tmp_path), np.random.default_rng(0)
    for number in range(16):
        hu = rng.integers(-1000, 1000, (6, 32, 32)).astype(np.int16)
        store.put(f"s{number:02d}", StoredVolume(hu, np.eye(4), (6, 32, 32), np.arange(6), PREPROCESS.digest()))
    return store


@pytest.fixture
def index() -> pd.DataFrame:
    """s00 to s09 train, s10 to s15 validation; s16 without volume, s17 without split, s03 without a known label."""
    labels = np.arange(18) % 2
    frame = pd.DataFrame(
        {
            "study_key": [f"s{number:02d}" for number in range(18)],
            "patient_key": [f"p{number:02d}" for number in range(18)],
            "split": ["train"] * 10 + ["validation"] * 6 + ["train", None],
            "volume": [f"s{number:02d}" for number in range(16)] + [None, "s17"],
            "volume_sha256": [f"d{number:02d}" for number in range(16)] + [None, "d17"],
            "lung_nodule": pd.array(labels, dtype="Int8"),
            "cardiomegaly": pd.array(1 - labels, dtype="Int8"),
        }
    ).astype({"split": "string", "volume": "string", "volume_sha256": "string"})
    frame.loc[3, list(TASKS)] = pd.NA
    frame.loc[5, "cardiomegaly"] = pd.NA
    return frame


@dataclass(frozen=True)
class Saved:
    """A checkpoint as the folder of checkpoints gives it."""

    checkpoint: Checkpoint

    def state(self) -> dict[str, Any]:
        return self.checkpoint.state

    def __call__(self) -> Checkpoint:
        return self.checkpoint


def run(
    index: pd.DataFrame, store: VolumeStore, catalogue: TaskCatalogueConfig, done: dict[str, Any], **changed: Any
) -> tuple[dict[str, Saved], dict[str, dict[str, Any]]]:
    """All checkpoints and history rows of one run of the node, on top of `done`."""
    checkpoints, history = dict(done), {}
    for chunk, rows in fit_hyperct(index, store, catalogue, checkpoints_done=dict(done), **(SETTINGS | changed)):
        checkpoints |= {name: Saved(checkpoint) for name, checkpoint in chunk.items()}
        history |= rows
    return checkpoints, history


def test_studies_that_can_be_trained_on(
    index: pd.DataFrame, store: VolumeStore, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        studies = labelled_studies(index, store, TASKS, "train")
    assert studies.study_keys == ("s00", "s01", "s02", "s04", "s05", "s06", "s07", "s08", "s09")
    assert studies.labels.dtype == np.int8 and studies.labels[4].tolist() == [1, -1]
    assert "9 of 11 studies; left out: 1 without a volume, 1 without a known label" in caplog.text


def test_absent_label_column_is_an_error(index: pd.DataFrame, store: VolumeStore) -> None:
    with pytest.raises(LabelTableError, match=r"no label column for \['emphysema'\]"):
        labelled_studies(index, store, ["emphysema"], "train")


def test_from_index_to_package(index: pd.DataFrame, store: VolumeStore, catalogue: TaskCatalogueConfig) -> None:
    checkpoints, history = run(index, store, catalogue, {})
    assert list(history) == list(checkpoints) == ["epoch_001", "epoch_002"]
    package = select_best(checkpoints, history, index, catalogue, **SETTINGS)
    assert package.trained_patients == (*(f"p{number:02d}" for number in range(10)), "p16")
    best = max(history, key=lambda name: (history[name]["validation_auroc"], name == "epoch_001"))
    assert package.training["epoch"] == history[best]["epoch"]
    assert package.tasks == TASKS and package.preprocess_digest == PREPROCESS.digest()
    assert package.task_groups == {task: load_catalogue(catalogue).group_of(task) for task in TASKS}
    weights = checkpoints[best]().weights
    assert all(np.array_equal(weights[k].numpy(), v.detach().numpy()) for k, v in package.model.named_parameters()
               if v.requires_grad)  # fmt: skip
    assert {f"validation_auroc/{task}" for task in TASKS} < history["epoch_001"].keys()
    assert all(isinstance(figure, Figure) for figure in draw_training(history, catalogue))


def test_second_run_trains_nothing_and_a_changed_setting_begins_anew(
    index: pd.DataFrame, store: VolumeStore, catalogue: TaskCatalogueConfig
) -> None:
    checkpoints, history = run(index, store, catalogue, {})
    again, rows = run(index, store, catalogue, checkpoints)
    assert again == checkpoints and rows == {"epoch_002": history["epoch_002"]}
    only_first = {"epoch_001": checkpoints["epoch_001"]}
    resumed, rows = run(index, store, catalogue, only_first)
    without_time = [{k: v for k, v in row.items() if k not in {"seconds", "scans_per_s"}} for row in
                    (rows["epoch_002"], history["epoch_002"])]  # fmt: skip
    assert without_time[0] == without_time[1] and resumed.keys() == checkpoints.keys()
    _, anew = run(index, store, catalogue, checkpoints, config=replace(SETTINGS["config"], lr=2e-3))
    assert list(anew) == ["epoch_001", "epoch_002"]
    assert anew["epoch_001"]["settings"] != history["epoch_001"]["settings"]


def test_store_of_other_preprocessing_is_refused(
    index: pd.DataFrame, store: VolumeStore, catalogue: TaskCatalogueConfig
) -> None:
    other = PreprocessConfig(shape_zyx=(6, 40, 40))
    with pytest.raises(StoreError, match=f"{PREPROCESS.digest()}.*{other.digest()}.*pipelines=preprocess"):
        run(index, store, catalogue, {}, preprocess=other)


def test_pipeline_runs_in_kedro(index: pd.DataFrame, store: VolumeStore, catalogue: TaskCatalogueConfig) -> None:
    """Inputs and outputs fit together; generator outputs are merged as the catalog's folders do."""

    class Folder(MemoryDataset):
        def __init__(self, lazy: bool) -> None:
            super().__init__()
            self.kept: dict[str, Any] = {}
            self.lazy = lazy

        def load(self) -> dict[str, Any]:
            return {k: Saved(v) for k, v in self.kept.items()} if self.lazy else self.kept

        def save(self, data: dict[str, Any]) -> None:
            self.kept |= data

        def _exists(self) -> bool:
            return True

    inputs = {"study_index": index, "volume_store": store, "checkpoints_done": {}, "params:task_catalogue": catalogue}
    inputs |= {f"params:{'fit' if key == 'config' else key}": value for key, value in SETTINGS.items()}
    catalog = DataCatalog({name: MemoryDataset(value, copy_mode="assign") for name, value in inputs.items()})
    catalog["checkpoints"], catalog["training_history"] = Folder(lazy=True), Folder(lazy=False)
    outputs = SequentialRunner().run(create_pipeline(), catalog)
    assert outputs["model_package"].load().tasks == TASKS
    assert len(catalog["training_history"].kept) == 2


@pytest.mark.parametrize("environments", [("base",), ("base", "paper")])
def test_configuration_files_are_valid(environments: tuple[str, ...]) -> None:
    merged: dict[str, dict[str, Any]] = {}
    for environment in environments:
        for group, values in yaml.safe_load((CONF / environment / "parameters_fit.yml").read_text()).items():
            merged[group] = merged.get(group, {}) | values
    assert TypeAdapter(HyperCTConfig).validate_python(merged["model"]).rank in (4, 16)
    assert TypeAdapter(FitConfig).validate_python(merged["fit"]).batch_size >= 1
    backbone = TypeAdapter(BackboneConfig).validate_python(merged["backbone"])
    slices = {}
    for environment in environments:
        slices |= yaml.safe_load((CONF / environment / "parameters_preprocess.yml").read_text())["slices"]
    assert list(backbone.img_size) == list(slices["crop_yx"])
