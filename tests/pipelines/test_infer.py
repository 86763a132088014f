"""New scans are prepared as the model's own scans were."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from hyperct_pipeline.datasets import OptionalJsonDocument
from hyperct_pipeline.errors import LabelTableError, PackageError
from hyperct_pipeline.evaluation.new_scans import InferConfig
from hyperct_pipeline.model.settings import BackboneConfig, HyperCTConfig
from hyperct_pipeline.pipelines.infer.nodes import preprocess_of_model, score_new_scans
from hyperct_pipeline.training.checkpoint import ModelPackage, load_package, save_package, untrained_package
from hyperct_pipeline.volumes.preprocessing import PreprocessConfig
from hyperct_pipeline.volumes.slices import SliceConfig
from hyperct_pipeline.volumes.store import StoredVolume, VolumeStore

PREPROCESS = PreprocessConfig(shape_zyx=(6, 32, 32), padding_hu=-1100)


def package(digest: str, preprocess: PreprocessConfig | None) -> ModelPackage:
    backbone = BackboneConfig(
        name="vit_small_patch16_dinov3_qkvb", img_size=(32, 32), embed_dim=32, depth=1, num_heads=2
    )
    model = HyperCTConfig(rank=2, task_dim=8, latent=16, head_in=12)
    settings = asdict(preprocess) if preprocess else None
    return untrained_package(backbone, model, SliceConfig(crop_yx=(32, 32)), {"a": "cardiac"}, digest, settings)


def test_settings_come_back_from_the_saved_package(tmp_path) -> None:
    save_package(tmp_path / "model", package(PREPROCESS.digest(), PREPROCESS))
    now = PreprocessConfig(shape_zyx=(8, 8, 8), store="compact", verify_store=True)
    found = preprocess_of_model(load_package(tmp_path / "model"), now)
    assert found == replace(PREPROCESS, store="compact", verify_store=True)


def test_settings_of_a_package_that_knows_one_form_of_the_store() -> None:
    earlier = package(PREPROCESS.digest(), PREPROCESS)
    del earlier.preprocess["store"]
    assert preprocess_of_model(earlier, PREPROCESS) == PREPROCESS


@pytest.mark.parametrize(
    ("digest", "preprocess", "expected"),
    [
        ("0123", PREPROCESS, f"needs scans prepared as 0123, but this version makes {PREPROCESS.digest()}"),
        ("0123", None, "needs scans prepared as 0123, but the package does not say how"),
    ],
)
def test_a_model_prepared_otherwise_is_refused_before_any_work(digest, preprocess, expected) -> None:
    with pytest.raises(PackageError, match=expected):
        preprocess_of_model(package(digest, preprocess), PREPROCESS)


def _scored(folder: Path, calibration: dict[str, Any] | None, model: ModelPackage) -> pd.DataFrame:
    store = VolumeStore(folder)
    hu = np.random.default_rng(0).integers(-1000, 1000, (9, 32, 32)).astype(np.int16)
    store.put("s1", StoredVolume(hu, np.eye(4), (9, 32, 32), np.arange(9), "d1"))
    manifest = pd.DataFrame({"study_key": ["s1", "s2"], "reason_codes": [None, "LOCALIZER"]})
    prepared = pd.DataFrame({"study_key": ["s1"], "volume": ["s1"], "reason_codes": [None]})
    return score_new_scans(model, manifest, prepared, store, calibration, InferConfig(device="cpu"))


def test_new_scans_get_the_recalibrated_probability_of_their_model(tmp_path: Path) -> None:
    trained = replace(package("d1", None), training={"epoch": 1})
    fitted = {
        "slope": 0.5,
        "intercept": -1.0,
        "knots": None,
        "threshold_youden": 0.4,
        "threshold_target_sensitivity": 0.2,
    }
    calibration = {"model_id": trained.model_id, "tasks": {"a": fitted}}
    scored = _scored(tmp_path, calibration, trained)
    row = scored[scored["study_key"] == "s1"].iloc[0]
    assert row["probability_calibrated"] == pytest.approx(expit(-1.0 + 0.5 * row["logit"]))
    assert scored.loc[scored["study_key"] == "s2", "reason_codes"].tolist() == ["LOCALIZER"]
    assert _scored(tmp_path, None, trained)["probability_calibrated"].isna().all()
    with pytest.raises(LabelTableError, match="the calibration is of model other"):
        _scored(tmp_path, calibration | {"model_id": "other"}, trained)


def test_a_package_without_a_calibration_is_no_error(tmp_path: Path) -> None:
    document = OptionalJsonDocument(filepath=str(tmp_path / "calibration.json"))
    assert document.load() is None
    document.save({"a": 1})
    assert document.load() == {"a": 1}
