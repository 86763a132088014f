"""Training checkpoints and the finished model package: safetensors and JSON, never pickle."""

import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset

from hyperct_pipeline.errors import ConfigError, PackageError

if TYPE_CHECKING:  # torch takes seconds to import and most commands never load a model
    from hyperct_pipeline.training.checkpoint import Checkpoint, CheckpointOnDisk, ModelPackage
    from hyperct_pipeline.training.task_files import TaskFiles

logger = logging.getLogger(__name__)

UNTRAINED = "untrained"


class CheckpointFolder(AbstractDataset["dict[str, Checkpoint]", "dict[str, CheckpointOnDisk]"]):
    """A folder with one subfolder per epoch; loading gives for each epoch what reads its checkpoint.

    A missing folder loads as an empty mapping: training has not begun. Saving leaves the last epochs and the best one
    of the present training; those of earlier settings and all others are deleted.

    Args:
        path: the folder.
        keep_last: how many of the newest epochs stay.
    """

    def __init__(self, path: str, keep_last: int = 2, metadata: dict[str, Any] | None = None) -> None:
        if keep_last < 1:
            raise ValueError(f"keep_last must be at least 1, found {keep_last}")
        self._folder, self._keep_last = Path(path), keep_last
        self.metadata = metadata

    def load(self) -> "dict[str, CheckpointOnDisk]":
        """Map each epoch to what reads its checkpoint, or its state alone."""
        from hyperct_pipeline.training.checkpoint import CheckpointOnDisk

        epochs = sorted(self._folder.glob("[!.]*")) if self._folder.is_dir() else []
        return {epoch.name: CheckpointOnDisk(epoch) for epoch in epochs if epoch.is_dir()}

    def save(self, data: "dict[str, Checkpoint]") -> None:
        """Write each epoch to its own subfolder, atomically, then delete what is not needed any more."""
        from hyperct_pipeline.training.checkpoint import save_checkpoint

        for name, checkpoint in data.items():
            save_checkpoint(self._folder / name, checkpoint)
            self._prune(name)

    def _prune(self, newest: str) -> None:
        from hyperct_pipeline.training.history import epochs_to_keep, row_of

        rows = {}
        for name, saved in self.load().items():
            try:
                rows[name] = row_of(saved.state())
            except PackageError:
                logger.warning("checkpoint %s is broken and is deleted", name)
        kept = epochs_to_keep(rows, newest, self._keep_last)
        for name in self.load().keys() - kept:
            shutil.rmtree(self._folder / name)

    def _exists(self) -> bool:
        return self._folder.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"folder": self._folder.name}


class TaskAdapterFolder(AbstractDataset["dict[str, TaskFiles]", "list[str]"]):
    """A folder with one subfolder per task, for other tools; loading gives the tasks that are there."""

    def __init__(self, path: str, metadata: dict[str, Any] | None = None) -> None:
        self._folder = Path(path)
        self.metadata = metadata

    def load(self) -> "list[str]":
        """Tasks that have been exported."""
        return sorted(p.name for p in self._folder.glob("[!.]*")) if self._folder.is_dir() else []

    def save(self, data: "dict[str, TaskFiles]") -> None:
        """Write each task to its own subfolder, atomically."""
        from hyperct_pipeline.training.task_files import save_task_files

        for task, files in data.items():
            save_task_files(self._folder / task, files)

    def _exists(self) -> bool:
        return self._folder.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"folder": self._folder.name}


class ModelPackageFolder(AbstractDataset["ModelPackage", "ModelPackage | None"]):
    """One trained model: `model.safetensors`, `package.json` and the licence notice of its backbone.

    Args:
        path: the package folder, or `untrained`: then loading gives None, and the node builds a fresh model.
        named: set where the path is one that the user gave (`--params=model=PATH`): such a model is read only.
    """

    def __init__(self, path: str, named: str | None = None, metadata: dict[str, Any] | None = None) -> None:
        self.folder, self._is_named = Path(path), named is not None
        self._untrained = named is None and self.folder.name == UNTRAINED and not self.folder.is_dir()
        self.metadata = metadata

    def load(self) -> "ModelPackage | None":
        """Read the package onto the CPU.

        Raises:
            PackageError: the folder is missing or is no model package.
        """
        from hyperct_pipeline.training.checkpoint import load_package

        if self._untrained:
            return None
        if not self.folder.is_dir():
            raise PackageError(
                "There is no model package here yet. Train one with `kedro run --pipeline=train`, or name one with "
                "`--params=model=PATH` (for `infer` also `model=untrained`, to check shapes)."
            )
        return load_package(self.folder)

    def save(self, data: "ModelPackage") -> None:
        """Write the package folder, atomically.

        Raises:
            ConfigError: another model was named to be read.
        """
        from hyperct_pipeline.training.checkpoint import save_package

        self.refuse_to_train()

        save_package(self.folder, data)

    def refuse_to_train(self) -> None:
        """Raises ConfigError where a model to be read is named: a run that trains would not use it."""
        if self._is_named:
            raise ConfigError(
                "--params=model=PATH names a model to be read, but this run trains one and would not use it. "
                "Leave it out, or run pipelines that read a model: predict, explain, evaluate, export, extend, infer."
            )

    def _exists(self) -> bool:
        return self._untrained or self.folder.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"folder": self.folder.name}
