"""What one task has learned, as a folder for other tools: a PEFT adapter with its head, or whole merged weights."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from hyperct_pipeline.atomic_file import replacing_folder
from hyperct_pipeline.errors import ConfigError
from hyperct_pipeline.model.backbone import DINOV3_LICENCE_NOTICE
from hyperct_pipeline.model.task_adapter import TaskAdapter, merged_weights, peft_adapter
from hyperct_pipeline.training.checkpoint import LICENCE_FILE, ModelPackage, write_json, write_tensors
from hyperct_pipeline.training.settings import ExportConfig


@dataclass(frozen=True, eq=False)
class TaskFiles:
    """One task, ready to be written."""

    adapter: TaskAdapter
    merged: dict[str, Tensor]  # timm's state dict; empty unless asked for
    of_meta: bool  # whether the backbone's weights are under the DINOv3 licence


def task_files(package: ModelPackage, task: str, config: ExportConfig) -> TaskFiles:
    """The files of a task.

    Raises:
        ConfigError: the model has no such task or no adapters, or its backbone is none of transformers'.
    """
    if config.layout == "hf" and "dinov3" not in package.backbone_config.name:
        raise ConfigError(f"export.layout: transformers' layout is for DINOv3, not for {package.backbone_config.name}")
    adapter = peft_adapter(package.model, task, config.layout, config.transformers_major)
    merged = merged_weights(package.model, task) if config.merged else {}
    return TaskFiles(adapter, merged, package.backbone_config.weights != "random")


def save_task_files(folder: Path, files: TaskFiles) -> None:
    """Write adapter_model.safetensors, adapter_config.json, head.safetensors, and merged.safetensors if there."""
    with replacing_folder(folder) as draft:
        write_tensors(draft / "adapter_model.safetensors", files.adapter.tensors)
        write_json(draft / "adapter_config.json", files.adapter.config)
        write_tensors(draft / "head.safetensors", files.adapter.head)
        if files.merged:
            write_tensors(draft / "merged.safetensors", files.merged)
            if files.of_meta:
                (draft / LICENCE_FILE).write_text(DINOV3_LICENCE_NOTICE + "\n")
