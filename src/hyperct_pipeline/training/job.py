"""A training as files, for processes that are to share it: JSON for settings and keys, safetensors for labels."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from hyperct_pipeline.model.settings import BackboneConfig, HyperCTConfig
from hyperct_pipeline.training.dataset import CTStudies, LabelledStudies
from hyperct_pipeline.training.settings import FitConfig
from hyperct_pipeline.volumes.slices import SliceConfig
from hyperct_pipeline.volumes.store import VolumeStore

_SETTINGS, _LABELS = "job.json", "labels.safetensors"


@dataclass(frozen=True, eq=False)
class Job:
    """Everything that a training depends on."""

    backbone: BackboneConfig
    model: HyperCTConfig
    tasks: tuple[str, ...]
    train: CTStudies
    validation: CTStudies
    config: FitConfig
    settings: str  # digest of the rest


def write_job(folder: Path, job: Job) -> None:
    """Write the job; the volumes stay where they are."""
    splits = {"train": job.train, "validation": job.validation}
    described = {
        "backbone": dataclasses.asdict(job.backbone),
        "model": dataclasses.asdict(job.model),
        "fit": dataclasses.asdict(job.config),
        "tasks": list(job.tasks),
        "settings": job.settings,
        **{name: _described(studies) for name, studies in splits.items()},
    }
    (folder / _SETTINGS).write_text(json.dumps(described))
    save_file({name: torch.from_numpy(s.studies.labels.copy()) for name, s in splits.items()}, folder / _LABELS)


def read_job(folder: Path) -> Job:
    """Read what `write_job` wrote."""
    described = json.loads((folder / _SETTINGS).read_text())
    labels = load_file(folder / _LABELS)

    def split(name: str) -> CTStudies:
        told = described[name]
        studies = LabelledStudies(
            tuple(told["study_keys"]),
            tuple(told["patient_keys"]),
            labels[name].numpy(),
            tuple(told["volume_digests"]),
        )
        slices = SliceConfig(**_tuples(told["slices"]))
        return CTStudies(VolumeStore(Path(told["store"])), studies, slices, told["digest"], told["seed"], told["trim"])

    return Job(
        BackboneConfig(**_tuples(described["backbone"])),
        HyperCTConfig(**_tuples(described["model"])),
        tuple(described["tasks"]),
        split("train"),
        split("validation"),
        FitConfig(**_tuples(described["fit"])),
        described["settings"],
    )


def _described(studies: CTStudies) -> dict[str, Any]:
    return {
        "store": str(studies.store.root.resolve()),
        "slices": dataclasses.asdict(studies.slices),
        "digest": studies.digest,
        "seed": studies.seed,
        "trim": studies.trim,
        "study_keys": studies.studies.study_keys,
        "patient_keys": studies.studies.patient_keys,
        "volume_digests": studies.studies.volume_digests,
    }


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    """JSON knows no tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
