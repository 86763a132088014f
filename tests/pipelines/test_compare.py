"""The `compare` pipeline: records, what is not repeated, and the table."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from pydantic import TypeAdapter

from hyperct_pipeline.errors import ConfigError, LeakageError
from hyperct_pipeline.labels.tasks import TaskCatalogueConfig
from hyperct_pipeline.model.settings import BackboneConfig, HyperCTConfig
from hyperct_pipeline.pipelines.compare.nodes import compare_methods, tabulate
from hyperct_pipeline.training.comparison import runs_of
from hyperct_pipeline.training.settings import CompareConfig, FitConfig
from hyperct_pipeline.volumes.preprocessing import PreprocessConfig
from hyperct_pipeline.volumes.slices import SliceConfig
from hyperct_pipeline.volumes.store import StoredVolume, VolumeStore

CONF = Path(__file__).parents[2] / "conf"
TASKS = ("lung_nodule", "cardiomegaly")
PREPROCESS = PreprocessConfig(shape_zyx=(6, 32, 32))
COMPARE = CompareConfig(methods=("linear_probe", "task_lora"), seeds=(0,), bootstrap_draws=20)
SETTINGS: dict[str, Any] = {
    "preprocess": PREPROCESS,
    "slices": SliceConfig(crop_yx=(32, 32), n_triplets=2),
    "backbone": BackboneConfig(
        name="vit_small_patch16_dinov3_qkvb", img_size=(32, 32), embed_dim=32, depth=1, num_heads=2
    ),
    "model": HyperCTConfig(rank=2, task_dim=8, latent=8, head_in=8),
    "config": FitConfig(epochs=1, batch_size=4, lr=1e-3, device="cpu"),
}


@pytest.fixture
def catalogue() -> TaskCatalogueConfig:
    raw = yaml.safe_load((CONF / "base" / "parameters_tasks.yml").read_text())["task_catalogue"]
    return TypeAdapter(TaskCatalogueConfig).validate_python(raw | {"tasks": TASKS})


@pytest.fixture
def store(tmp_path: Path) -> VolumeStore:
    store, rng = VolumeStore(tmp_path), np.random.default_rng(0)
    for number in range(18):
        hu = rng.integers(-1000, 1000, (6, 32, 32)).astype(np.int16)
        store.put(f"s{number:02d}", StoredVolume(hu, np.eye(4), (6, 32, 32), np.arange(6), PREPROCESS.digest()))
    return store


@pytest.fixture
def index() -> pd.DataFrame:
    numbers = range(18)
    return pd.DataFrame(
        {
            "study_key": [f"s{number:02d}" for number in numbers],
            "patient_key": [f"p{number:02d}" for number in numbers],
            "split": ["train"] * 8 + ["validation"] * 4 + ["test"] * 6,
            "volume": [f"s{number:02d}" for number in numbers],
            "volume_sha256": [f"d{number:02d}" for number in numbers],
            "lung_nodule": pd.array(np.arange(18) % 2, dtype="Int8"),
            "cardiomegaly": pd.array(1 - np.arange(18) % 2, dtype="Int8"),
        }
    )


def made(index: pd.DataFrame, store: VolumeStore, catalogue: TaskCatalogueConfig, done: Any, **changed: Any) -> Any:
    records = dict(done)
    fresh = []
    for chunk in compare_methods(
        index, store, catalogue, **(SETTINGS | {"compare": COMPARE, "comparison_done": done} | changed)
    ):
        records |= chunk
        fresh += list(chunk)
    return records, fresh


def test_records_are_made_once_and_tabulated(
    index: pd.DataFrame, store: VolumeStore, catalogue: TaskCatalogueConfig
) -> None:
    records, fresh = made(index, store, catalogue, {})
    assert fresh == ["linear_probe_seed0", "task_lora_seed0"]
    assert made(index, store, catalogue, records)[1] == []
    more = CompareConfig(methods=("linear_probe", "mtlora"), seeds=(0,), bootstrap_draws=20)
    records, fresh = made(index, store, catalogue, records, compare=more)
    assert fresh == ["mtlora_seed0"]
    table = tabulate(records, index, store, catalogue, COMPARE)
    assert table["method"].tolist() == ["linear_probe"] * 2 + ["task_lora"] * 2
    assert table["group"].tolist() == ["radiological", "all"] * 2 and table["auroc"].notna().all()
    with pytest.raises(ConfigError, match="other held-out studies"):
        tabulate(records, index.iloc[:-1], store, catalogue, COMPARE)


def test_several_processes_are_refused(index: pd.DataFrame, store: VolumeStore, catalogue: TaskCatalogueConfig) -> None:
    with pytest.raises(ConfigError, match="`compare` trains in one process"):
        made(index, store, catalogue, {}, config=replace(SETTINGS["config"], n_processes=2))
    variants = CompareConfig(methods=("x",), variants={"x": {"n_processes": 2}}, seeds=(0,))
    with pytest.raises(ConfigError, match="`compare` trains in one process"):
        made(index, store, catalogue, {}, compare=variants)


def test_held_out_patients_are_not_trained_on(
    index: pd.DataFrame, store: VolumeStore, catalogue: TaskCatalogueConfig
) -> None:
    index.loc[17, "patient_key"] = "p00"
    with pytest.raises(LeakageError, match="p00"):
        made(index, store, catalogue, {})


@pytest.mark.parametrize("environments", [("base",), ("base", "experiments")])
def test_configuration_files_are_valid(environments: tuple[str, ...]) -> None:
    raw: dict[str, Any] = {}
    for environment in environments:
        raw |= yaml.safe_load((CONF / environment / "parameters_compare.yml").read_text())["compare"]
    compare = TypeAdapter(CompareConfig).validate_python(raw)
    every = replace(compare, methods=tuple(dict.fromkeys((*compare.methods, *compare.variants))))
    assert len(runs_of(every, SETTINGS["model"], SETTINGS["config"])) == len(every.methods) * 3
