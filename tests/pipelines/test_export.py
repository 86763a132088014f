"""The `export` pipeline: files per task that other tools read."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hyperct_pipeline.datasets import TaskAdapterFolder
from hyperct_pipeline.errors import ConfigError
from hyperct_pipeline.model.settings import BackboneConfig, HyperCTConfig
from hyperct_pipeline.pipelines.export.nodes import export_tasks
from hyperct_pipeline.training.checkpoint import LICENCE_FILE, ModelPackage, untrained_package
from hyperct_pipeline.training.settings import ExportConfig
from hyperct_pipeline.volumes.slices import SliceConfig

GROUPS = {"lung_nodule": "radiological", "cardiomegaly": "radiological"}


@pytest.fixture
def package() -> ModelPackage:
    backbone = BackboneConfig("vit_small_patch16_dinov3_qkvb", img_size=(32, 32), embed_dim=32, depth=2, num_heads=2)
    model = HyperCTConfig(rank=2, task_dim=8, latent=16, head_in=12, init="reference")
    return untrained_package(backbone, model, SliceConfig((32, 32), 2), GROUPS, "prepared-so")


def test_files_of_each_task(tmp_path: Path, package: ModelPackage) -> None:
    folder = TaskAdapterFolder(str(tmp_path / "adapters"))
    assert folder.load() == []
    for chunk in export_tasks(package, ExportConfig(merged=True)):
        folder.save(chunk)
    assert folder.load() == ["cardiomegaly", "lung_nodule"]
    task = tmp_path / "adapters" / "cardiomegaly"
    adapter = load_file(task / "adapter_model.safetensors")
    assert len(adapter) == 2 * 6 * 2  # blocks, sites, A and B
    assert adapter["base_model.model.model.layer.1.mlp.up_proj.lora_B.weight"].shape == (128, 2)
    assert json.loads((task / "adapter_config.json").read_text())["r"] == 2
    assert load_file(task / "head.safetensors")["linear.weight"].shape == (1, 32)
    merged, plain = load_file(task / "merged.safetensors"), package.model.backbone.state_dict()
    a, b = package.model.adapters(torch.tensor([1]))["mlp_up"]
    expected = plain["blocks.0.mlp.fc1.weight"] + b[0, 0] @ a[0, 0]
    torch.testing.assert_close(merged["blocks.0.mlp.fc1.weight"], expected.detach())
    assert not (task / LICENCE_FILE).exists()


def test_the_licence_goes_with_weights_of_meta(tmp_path: Path, package: ModelPackage) -> None:
    trained = replace(package, backbone_config=replace(package.backbone_config, weights="dinov3.safetensors"))
    for merged in (False, True):
        folder = TaskAdapterFolder(str(tmp_path / str(merged)))
        for chunk in export_tasks(trained, ExportConfig(tasks=("lung_nodule",), merged=merged)):
            folder.save(chunk)
        assert (tmp_path / str(merged) / "lung_nodule" / LICENCE_FILE).exists() == merged


def test_what_cannot_be_exported(package: ModelPackage) -> None:
    with pytest.raises(ConfigError, match="no task 'emphysema'; it has lung_nodule, cardiomegaly"):
        list(export_tasks(package, ExportConfig(tasks=("emphysema",))))
    other = replace(package, backbone_config=replace(package.backbone_config, name="vit_tiny_patch16_224"))
    with pytest.raises(ConfigError, match="layout is for DINOv3, not for vit_tiny"):
        list(export_tasks(other, ExportConfig()))
