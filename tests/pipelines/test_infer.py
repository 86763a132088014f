"""New scans are prepared as the model's own scans were."""

from dataclasses import asdict

import pytest

from hyperct_pipeline.errors import PackageError
from hyperct_pipeline.model.settings import BackboneConfig, HyperCTConfig
from hyperct_pipeline.pipelines.infer.nodes import preprocess_of_model
from hyperct_pipeline.training.checkpoint import ModelPackage, load_package, save_package, untrained_package
from hyperct_pipeline.volumes.preprocessing import PreprocessConfig
from hyperct_pipeline.volumes.slices import SliceConfig

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
    assert preprocess_of_model(load_package(tmp_path / "model")) == PREPROCESS


@pytest.mark.parametrize(
    ("digest", "preprocess", "expected"),
    [
        ("0123", PREPROCESS, f"needs scans prepared as 0123, but this version makes {PREPROCESS.digest()}"),
        ("0123", None, "needs scans prepared as 0123, but the package does not say how"),
    ],
)
def test_a_model_prepared_otherwise_is_refused_before_any_work(digest, preprocess, expected) -> None:
    with pytest.raises(PackageError, match=expected):
        preprocess_of_model(package(digest, preprocess))
