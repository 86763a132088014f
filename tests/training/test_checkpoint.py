"""Round trips to the last bit, and every way in which a folder can be wrong."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from hyperct_pipeline.errors import PackageError
from hyperct_pipeline.model.backbone import DINOV3_LICENCE_NOTICE
from hyperct_pipeline.model.hyperct import HyperCT
from hyperct_pipeline.training.checkpoint import (
    LICENCE_FILE,
    Checkpoint,
    ModelPackage,
    load_checkpoint,
    load_package,
    make_package,
    save_checkpoint,
    save_package,
    untrained_package,
)

from .conftest import BACKBONE, MODEL, SLICES, TASKS

GROUPS = {"bright_left": "radiological", "dark_centre": "cardiac", "never_known": "cardiac"}


@pytest.fixture
def package(new_model: Callable[[], HyperCT]) -> ModelPackage:
    model = new_model()
    with torch.no_grad():
        model.hypernetwork.heads["mlp_up"].weight.normal_()
    training = {"epoch": 3, "validation_auroc": 0.75}
    return make_package(model, BACKBONE, SLICES, GROUPS, "prepared-so", training, {"x": 1}, ["p2", "p1", "p2"])


def test_package_comes_back_to_the_last_bit(tmp_path: Path, package: ModelPackage) -> None:
    save_package(tmp_path / "best", package)
    loaded = load_package(tmp_path / "best")
    for field in (
        "model_config",
        "slice_config",
        "backbone_config",
        "tasks",
        "task_groups",
        "preprocess_digest",
        "preprocess",
        "trained_patients",
    ):
        assert getattr(loaded, field) == getattr(package, field)
    assert loaded.model_id == package.model_id and loaded.training == {"epoch": 3, "validation_auroc": 0.75}
    x, mask = torch.randn(2, 3, 3, 32, 32), torch.ones(2, 3, dtype=torch.bool)
    assert torch.equal(loaded.model.logits_all_tasks(x, mask), package.model.logits_all_tasks(x, mask))
    assert not loaded.model.training and not any(p.requires_grad for p in loaded.model.backbone.parameters())
    assert sorted(file.name for file in tmp_path.iterdir()) == ["best"]


def test_saving_again_replaces_the_folder(tmp_path: Path, package: ModelPackage) -> None:
    save_package(tmp_path / "best", package)
    (tmp_path / "best" / "mlflow.json").write_text("{}")
    save_package(tmp_path / "best", replace(package, training={}))
    assert load_package(tmp_path / "best").training == {}
    assert sorted(file.name for file in (tmp_path / "best").iterdir()) == ["model.safetensors", "package.json"]


def test_a_failed_save_leaves_the_old_package(tmp_path: Path, package: ModelPackage) -> None:
    save_package(tmp_path / "best", package)
    with pytest.raises(TypeError, match="not JSON serializable"):
        save_package(tmp_path / "best", replace(package, training={"x": object()}))
    assert load_package(tmp_path / "best").model_id == package.model_id
    assert sorted(file.name for file in tmp_path.iterdir()) == ["best"]


def test_licence_goes_with_weights_of_meta_and_paths_stay_home(tmp_path: Path, package: ModelPackage) -> None:
    save_package(tmp_path / "best", package)
    assert not (tmp_path / "best" / LICENCE_FILE).exists()  # random weights are nobody's
    trained = replace(package, backbone_config=replace(BACKBONE, weights="/home/someone/dinov3.safetensors"))
    save_package(tmp_path / "best", trained)
    assert DINOV3_LICENCE_NOTICE in (tmp_path / "best" / LICENCE_FILE).read_text()
    assert "someone" not in (tmp_path / "best" / "package.json").read_text()
    assert load_package(tmp_path / "best").backbone_config.weights == "dinov3.safetensors"


def test_model_id_depends_on_every_weight(package: ModelPackage, new_model: Callable[[], HyperCT]) -> None:
    changed = new_model()
    changed.load_state_dict(package.model.state_dict())
    again = make_package(changed, BACKBONE, SLICES, GROUPS, "prepared-so", {})
    assert again.model_id == package.model_id and len(again.model_id) == 16
    with torch.no_grad():
        changed.task_embeddings[2, 3] += 1e-7
    assert make_package(changed, BACKBONE, SLICES, GROUPS, "prepared-so", {}).model_id != package.model_id


def test_weights_are_as_readable_as_their_description(tmp_path: Path, package: ModelPackage) -> None:
    save_package(tmp_path / "best", package)
    modes = {file.name: file.stat().st_mode & 0o777 for file in (tmp_path / "best").iterdir()}
    assert modes["model.safetensors"] == modes["package.json"]


def test_untrained_package_has_the_configured_shape() -> None:
    fresh = untrained_package(BACKBONE, MODEL, SLICES, GROUPS, "prepared-so")
    assert fresh.tasks == TASKS and fresh.training == {}


def test_broken_packages_are_refused(tmp_path: Path, package: ModelPackage) -> None:
    best = tmp_path / "best"
    with pytest.raises(PackageError, match=r"best/package\.json is missing or broken"):
        load_package(best)
    save_package(best, package)
    description = json.loads((best / "package.json").read_text())
    tensors = load_file(best / "model.safetensors")

    (best / "package.json").write_text(json.dumps(description | {"format": "something else"}))
    with pytest.raises(PackageError, match="expected format 'hyperct_pipeline model package 1'"):
        load_package(best)
    (best / "package.json").write_text(json.dumps(description | {"tasks": ["one"]}))
    with pytest.raises(PackageError, match="does not describe its tensors"):
        load_package(best)
    (best / "package.json").write_text(json.dumps(description | {"model": {"rnak": 3}}))
    with pytest.raises(PackageError, match="rnak"):
        load_package(best)
    (best / "package.json").write_text(json.dumps(description))
    save_file(tensors | {"head.1.bias": tensors["head.1.bias"] + 1}, best / "model.safetensors")
    with pytest.raises(PackageError, match="is damaged: its weights have digest"):
        load_package(best)
    (best / "model.safetensors").write_bytes((best / "model.safetensors").read_bytes()[:1000])
    with pytest.raises(PackageError, match=r"model\.safetensors is missing or broken"):
        load_package(best)


def test_checkpoint_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    checkpoint = Checkpoint(
        weights={"a": torch.randn(3, 4)},
        optimiser={"a|exp_avg": torch.randn(3, 4), "a|step": torch.tensor(7.0)},
        state={"epoch": 2, "settings": "abc", "metrics": {"train_loss": 0.1 + 0.2}},
    )
    save_checkpoint(tmp_path / "epoch_002", checkpoint)
    loaded = load_checkpoint(tmp_path / "epoch_002")
    assert torch.equal(loaded.weights["a"], checkpoint.weights["a"])
    assert all(torch.equal(loaded.optimiser[key], value) for key, value in checkpoint.optimiser.items())
    assert loaded.state == checkpoint.state
    save_package_error = pytest.raises(PackageError, match=r"epoch_002/package\.json is missing")
    with save_package_error:
        load_package(tmp_path / "epoch_002")
