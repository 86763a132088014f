"""The `predict` pipeline on an untrained model and five tiny volumes."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from kedro_datasets.json import JSONDataset
from pydantic import TypeAdapter
from scipy.special import expit

from hyperct_pipeline.errors import LeakageError
from hyperct_pipeline.evaluation.assess_settings import RecalibrationConfig
from hyperct_pipeline.evaluation.predictions import PredictConfig
from hyperct_pipeline.evaluation.recalibration import refuse_trained_patients
from hyperct_pipeline.model.settings import BackboneConfig, HyperCTConfig
from hyperct_pipeline.pipelines.predict import create_pipeline
from hyperct_pipeline.training.checkpoint import untrained_package
from hyperct_pipeline.volumes.slices import SliceConfig
from hyperct_pipeline.volumes.store import StoredVolume, VolumeStore

CONF = Path(__file__).parents[2] / "conf"
GROUPS = {"nodule": "radiological", "low_lvef": "cardiac"}


def _index() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "study_key": ["s1", "s2", "s3", "s4", "s5", "s6"],
            "patient_key": ["p1", "p2", "p3", "p4", "p5", "p5"],
            "cohort": ["development"] * 3 + ["prospective_a"] * 3,
            "split": ["train", "validation", "validation", "test", "test", "test"],
            "volume": ["s1", "s2", "s3", "s4", "s5", None],
            "nodule": pd.array([1, 1, 0, 1, None, 0], dtype="Int8"),
            "low_lvef": pd.array([None] * 6, dtype="Int8"),
        }
    )


def _run(index: pd.DataFrame, folder: Path) -> dict[str, Any]:
    backbone = BackboneConfig(
        name="vit_small_patch16_dinov3_qkvb", img_size=(32, 32), embed_dim=32, depth=2, num_heads=2
    )
    model = HyperCTConfig(rank=2, task_dim=8, latent=16, head_in=12, init="reference")
    slices = SliceConfig(crop_yx=(32, 32), n_triplets=3)
    store, rng = VolumeStore(folder), np.random.default_rng(0)
    for key in ("s1", "s2", "s3", "s4", "s5"):
        hu = rng.integers(-1000, 1000, (9, 32, 32)).astype(np.int16)
        store.put(key, StoredVolume(hu, np.eye(4), (9, 32, 32), np.arange(9), "d1"))
    inputs = {
        "model_package": untrained_package(backbone, model, slices, GROUPS, "d1"),
        "study_index": index,
        "volume_store": store,
        "params:predict": PredictConfig(batch_size=2, device="cpu"),
        "params:recalibration": RecalibrationConfig(min_class_count=1),
    }
    catalog = DataCatalog({name: MemoryDataset(value, copy_mode="assign") for name, value in inputs.items()})
    catalog["calibration"] = JSONDataset(filepath=str(folder / "calibration.json"))  # as in conf
    outputs = SequentialRunner().run(create_pipeline(), catalog)
    return {name: dataset.load() for name, dataset in outputs.items()} | {"calibration": catalog.load("calibration")}


def test_validation_and_test_are_scored_and_recalibrated(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    out = _run(_index(), tmp_path)
    table = out["predictions@own"]
    assert list(table["study_key"]) == ["s2", "s2", "s3", "s3", "s4", "s4", "s5", "s5"]
    assert "1 studies of split test have no volume" in caplog.text
    np.testing.assert_allclose(table["probability"], expit(table["logit"]), rtol=1e-12)
    assert table["label"].isna().tolist() == [False, True] * 3 + [True, True]
    line = out["calibration"]["tasks"]["nodule"]
    nodule = table[table["task"] == "nodule"]
    np.testing.assert_allclose(
        nodule["probability_calibrated"], expit(line["intercept"] + line["slope"] * nodule["logit"]), rtol=1e-12
    )
    assert out["calibration"]["tasks"]["low_lvef"]["status"] == "no_labels"
    assert table.loc[table["task"] == "low_lvef", "probability_calibrated"].isna().all()
    assert set(table["model_id"]) == {out["model_card"]["model_id"]}


def test_a_patient_in_two_splits_stops_the_run_before_scoring(tmp_path: Path) -> None:
    index = _index()
    index.loc[index["study_key"] == "s4", "patient_key"] = "p2"
    with pytest.raises(LeakageError, match=r"1 patients .*p2"):
        _run(index, tmp_path)


def test_patients_of_the_training_are_not_scored_after_the_splits_moved() -> None:
    index = _index()
    refuse_trained_patients(index, ("p9",))
    with pytest.raises(LeakageError, match=r"2 patients of the studies to be scored .* \['p1', 'p5'\]"):
        refuse_trained_patients(index, ("p1", "p5", "p9"))


@pytest.mark.parametrize("env", ["base", "paper"])
def test_the_configured_parameters_are_valid(env: str) -> None:
    raw = yaml.safe_load((CONF / env / "parameters_predict.yml").read_text())["predict"]
    assert TypeAdapter(PredictConfig).validate_python(raw).splits == ("validation", "test")
