"""Models on disk: safetensors and JSON, never pickle; folders appear whole or not at all.

A checkpoint holds what training needs to go on (trained weights, optimiser), a package what scoring needs (all
weights with the backbone, tasks, settings).
"""

import dataclasses
import hashlib
import json
import logging
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from hyperct_pipeline.atomic_file import replacing_folder
from hyperct_pipeline.errors import PackageError
from hyperct_pipeline.model.backbone import DINOV3_LICENCE_NOTICE, build_backbone, empty_backbone
from hyperct_pipeline.model.hyperct import HyperCT
from hyperct_pipeline.model.settings import BackboneConfig, HyperCTConfig
from hyperct_pipeline.volumes.slices import SliceConfig

logger = logging.getLogger(__name__)

PACKAGE_FORMAT = "hyperct_pipeline model package 1"
CHECKPOINT_FORMAT = "hyperct_pipeline checkpoint 1"
LICENCE_FILE = "DINOV3_LICENCE_NOTICE.txt"

Config = TypeVar("Config", BackboneConfig, HyperCTConfig, SliceConfig)


@dataclass(frozen=True, eq=False)
class ModelPackage:
    """A model with everything needed to score scans as it was trained to."""

    model: HyperCT
    backbone_config: BackboneConfig
    model_config: HyperCTConfig
    slice_config: SliceConfig
    tasks: tuple[str, ...]
    task_groups: dict[str, str]  # task id -> radiological | cardiac
    preprocess_digest: str  # settings that volumes must have been prepared with
    model_id: str  # digest of all weights
    training: dict[str, Any]  # plain JSON values: epoch, metrics, seed; empty for an untrained model
    preprocess: dict[str, Any]  # the settings behind preprocess_digest as plain JSON values; empty where not known
    trained_patients: tuple[str, ...]  # patient keys of the training split, sorted: none of them may be tested on


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The state of training after an epoch."""

    weights: dict[str, Tensor]  # trained parameters by name
    optimiser: dict[str, Tensor]  # "<parameter>|<moment>"
    state: dict[str, Any]  # plain JSON values: epoch, settings (digest), metrics, what early stopping and DWA remember
    average: dict[str, Tensor] = field(default_factory=dict)  # moving average of the weights; empty without one


def make_package(
    model: HyperCT,
    backbone: BackboneConfig,
    slices: SliceConfig,
    task_groups: Mapping[str, str],
    preprocess_digest: str,
    training: Mapping[str, Any],
    preprocess: Mapping[str, Any] | None = None,
    trained_patients: Iterable[str] = (),
) -> ModelPackage:
    """A package of the model as it is now."""
    return ModelPackage(
        model=model.eval(),
        backbone_config=backbone,
        model_config=model.config,
        slice_config=slices,
        tasks=model.tasks,
        task_groups=dict(task_groups),
        preprocess_digest=preprocess_digest,
        model_id=digest_of_tensors(model.state_dict()),
        training=dict(training),
        preprocess=dict(preprocess or {}),
        trained_patients=tuple(sorted(set(trained_patients))),
    )


def untrained_package(
    backbone: BackboneConfig,
    model: HyperCTConfig,
    slices: SliceConfig,
    task_groups: Mapping[str, str],
    preprocess_digest: str,
    preprocess: Mapping[str, Any] | None = None,
) -> ModelPackage:
    """A model of the configured shape at its starting values; tasks in the order of `task_groups`."""
    fresh = HyperCT(build_backbone(backbone), tuple(task_groups), model)
    return make_package(fresh, backbone, slices, task_groups, preprocess_digest, {}, preprocess)


def save_package(folder: Path, package: ModelPackage) -> None:
    """Write model.safetensors and package.json, and the licence notice where the weights are Meta's."""
    description = {
        "format": PACKAGE_FORMAT,
        "model_id": package.model_id,
        "tasks": list(package.tasks),
        "task_groups": package.task_groups,
        "preprocess_digest": package.preprocess_digest,
        "preprocess": package.preprocess,
        "trained_patients": list(package.trained_patients),
        "backbone": dataclasses.asdict(package.backbone_config)
        | {"weights": Path(package.backbone_config.weights).name},  # a full path would name people and machines
        "model": dataclasses.asdict(package.model_config),
        "slices": dataclasses.asdict(package.slice_config),
        "training": package.training,
    }
    with replacing_folder(folder) as draft:
        write_tensors(draft / "model.safetensors", package.model.state_dict())
        write_json(draft / "package.json", description)
        if package.backbone_config.weights != "random":
            (draft / LICENCE_FILE).write_text(DINOV3_LICENCE_NOTICE + "\n")
            logger.info(DINOV3_LICENCE_NOTICE)


def load_package(folder: Path | str, device: torch.device | str = "cpu") -> ModelPackage:
    """Read a package; the backbone comes from the package, not from the hub or a weight file.

    Raises:
        PackageError: a file is absent or broken, or the tensors are not those that package.json describes.
    """
    folder = Path(folder)
    description = _read_json(folder, "package.json", PACKAGE_FORMAT)
    tensors = _read_tensors(folder, "model.safetensors", device)
    try:
        backbone = _config_from(BackboneConfig, description["backbone"])
        config = _config_from(HyperCTConfig, description["model"])
        slices = _config_from(SliceConfig, description["slices"])
        model = HyperCT(empty_backbone(backbone), description["tasks"], config).to(device)
        model.load_state_dict(tensors)
        training, groups = dict(description["training"]), dict(description["task_groups"])
        rest = training, description["preprocess"], description["trained_patients"]
        package = make_package(model, backbone, slices, groups, description["preprocess_digest"], *rest)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise PackageError(f"model package {folder.name} does not describe its tensors: {error}") from error
    if package.model_id != description["model_id"]:
        raise PackageError(
            f"model package {folder.name} is damaged: its weights have digest {package.model_id}, "
            f"package.json says {description['model_id']}"
        )
    if backbone.weights != "random":
        logger.info(DINOV3_LICENCE_NOTICE)
    return package


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write weights.safetensors, optimiser.safetensors, state.json, and average.safetensors where there is one."""
    with replacing_folder(folder) as draft:
        if checkpoint.average:
            write_tensors(draft / "average.safetensors", checkpoint.average)
        write_tensors(draft / "weights.safetensors", checkpoint.weights)
        write_tensors(draft / "optimiser.safetensors", checkpoint.optimiser)
        write_json(draft / "state.json", {"format": CHECKPOINT_FORMAT, **checkpoint.state})


@dataclass(frozen=True)
class CheckpointOnDisk:
    """A checkpoint that is read when it is called."""

    folder: Path

    def state(self) -> dict[str, Any]:
        """What it says about itself; raises PackageError as `load_checkpoint`."""
        return checkpoint_state(self.folder)

    def __call__(self) -> Checkpoint:
        """All of it."""
        return load_checkpoint(self.folder)


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint; raises PackageError when a file is absent or broken."""
    averaged = (folder / "average.safetensors").is_file()
    return Checkpoint(
        weights=_read_tensors(folder, "weights.safetensors", "cpu"),
        optimiser=_read_tensors(folder, "optimiser.safetensors", "cpu"),
        state=checkpoint_state(folder),
        average=_read_tensors(folder, "average.safetensors", "cpu") if averaged else {},
    )


def checkpoint_state(folder: Path) -> dict[str, Any]:
    """The state of a checkpoint alone, without reading its tensors; raises PackageError as `load_checkpoint`."""
    state = _read_json(folder, "state.json", CHECKPOINT_FORMAT)
    del state["format"]
    return state


def digest_of_tensors(tensors: Mapping[str, Tensor]) -> str:
    """First 16 hex digits of SHA-256 over names, types, shapes and bytes."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _config_from(kind: type[Config], values: Mapping[str, Any]) -> Config:
    """JSON knows no tuples."""
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    return kind(**fields)


def write_tensors(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file; raises OSError where the disk is full, as other writers do."""
    try:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, file)
    except safetensors.SafetensorError as error:
        if found := re.search(r"os error (\d+)", str(error)):
            raise OSError(int(found[1]), os.strerror(int(found[1]))) from error
        raise


def write_json(file: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON file of finite numbers."""
    file.write_text(json.dumps(values, indent=1, allow_nan=False))


def _read_tensors(folder: Path, name: str, device: torch.device | str) -> dict[str, Tensor]:
    try:
        return load_file(folder / name, device=str(device))
    except (OSError, safetensors.SafetensorError) as error:
        raise PackageError(f"{folder.name}/{name} is missing or broken ({type(error).__name__})") from error


def _read_json(folder: Path, name: str, expected_format: str) -> dict[str, Any]:
    try:
        values = json.loads((folder / name).read_text())
    except (OSError, ValueError) as error:
        raise PackageError(f"{folder.name}/{name} is missing or broken ({type(error).__name__})") from error
    found = values.get("format") if isinstance(values, dict) else None
    if found != expected_format:
        raise PackageError(f"{folder.name}/{name}: expected format '{expected_format}', found {found!r}")
    return dict(values)
