"""What earlier epochs left behind: from where training goes on, and which epoch is the best."""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Mapping
from typing import Any, Protocol

from hyperct_pipeline.errors import ConfigError, PackageError
from hyperct_pipeline.model.backbone import build_backbone
from hyperct_pipeline.model.hyperct import HyperCT
from hyperct_pipeline.model.settings import BackboneConfig, HyperCTConfig
from hyperct_pipeline.training.checkpoint import Checkpoint, digest_of_tensors
from hyperct_pipeline.training.dataset import LabelledStudies
from hyperct_pipeline.training.settings import FitConfig
from hyperct_pipeline.volumes.slices import SliceConfig

logger = logging.getLogger(__name__)

Row = Mapping[str, Any]
"""One epoch of the history: `epoch`, `settings` and its metrics."""


def settings_digest(
    backbone: BackboneConfig,
    model: HyperCTConfig,
    slices: SliceConfig,
    config: FitConfig,
    preprocess_digest: str,
    tasks: tuple[str, ...],
    splits: tuple[LabelledStudies, ...],
    backbone_digest: str,
) -> str:
    """Digest of everything the weights depend on: settings, tasks, studies, voxels and labels; not the device.

    Args:
        backbone_digest: of the backbone's weights. Where their file lies does not matter, what is in it does.
    """
    settings = [dataclasses.asdict(part) for part in (backbone, model, slices, config.for_digest())]
    settings[0]["weights"] = backbone_digest
    digest = hashlib.sha256(json.dumps([settings, preprocess_digest, tasks], sort_keys=True).encode())
    for split in splits:
        digest.update(json.dumps([split.study_keys, split.patient_keys, split.volume_digests]).encode())
        digest.update(split.labels.tobytes())
    return digest.hexdigest()[:16]


def backbone_digest_of(config: BackboneConfig) -> str:
    """Digest of the weights that a training with this backbone begins with; errors as `build_backbone` has them."""
    return digest_of_tensors(build_backbone(config).state_dict())


def start_digest(model: HyperCT) -> str:
    """Digest of a model that has not been trained: settings, tasks and the backbone's weights."""
    backbone = digest_of_tensors(model.backbone.state_dict())
    told = json.dumps([dataclasses.asdict(model.config), model.tasks, backbone], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def refuse_other_training(checkpoint: Checkpoint, tasks: tuple[str, ...], start: str, settings: str) -> None:
    """Raises ConfigError when a checkpoint is of other tasks, another start or another training than expected.

    Args:
        start: `start_digest` of the model that is to take the weights.
        settings: `settings_digest` of the training.
    """
    state = checkpoint.state
    if (found := tuple(state.get("tasks", ()))) != tasks:
        raise ConfigError(
            f"the checkpoint of epoch {state['epoch']} is of other tasks: expected {list(tasks)}, found {list(found)}. "
            "Run `kedro run --pipelines=fit` again, or put the tasks back"
        )
    for name, key, expected in (("model settings or backbone weights", "start", start), ("data", "settings", settings)):
        if state.get(key) != expected:
            raise ConfigError(
                f"the checkpoint of epoch {state['epoch']} was trained with other {name}: expected {key} {expected}, "
                f"found {state.get(key)}. Run `kedro run --pipelines=fit` again, or put the settings back"
            )


class SavedCheckpoint(Protocol):
    """A checkpoint that is on disk."""

    def state(self) -> Mapping[str, Any]:
        """What it says about itself, without reading its tensors."""

    def __call__(self) -> Checkpoint:
        """All of it."""


def checkpoint_to_resume(done: Mapping[str, SavedCheckpoint], settings: str) -> Checkpoint | None:
    """The newest whole checkpoint of the same settings as now, or None to begin anew.

    Only that one is read whole. A broken one is passed over.
    """
    for name in sorted(done, reverse=True):
        try:
            if done[name].state()["settings"] != settings:
                continue
            found = done[name]()
        except PackageError as error:
            logger.warning("%s; training goes on from the checkpoint before", error)
            continue
        logger.info("training goes on after epoch %d", found.state["epoch"])
        return found
    if done:
        logger.info("settings or data have changed since the last training: it begins anew")
    return None


def epochs_to_keep(rows: Mapping[str, Row], newest: str, keep_last: int) -> set[str]:
    """The last epochs and the best one of the training that `newest` belongs to; all others can go."""
    same = {name: row for name, row in rows.items() if row["settings"] == rows[newest]["settings"] and name <= newest}
    return {*sorted(same)[-keep_last:], _best(same)[0]}


def history_row(checkpoint: Checkpoint) -> dict[str, Any]:
    """`epoch`, `settings` and the metrics of an epoch, in one flat row."""
    return row_of(checkpoint.state)


def row_of(state: Mapping[str, Any]) -> dict[str, Any]:
    """The same from the state of a checkpoint."""
    return {"epoch": state["epoch"], "settings": state["settings"], **state["metrics"]}


def current_rows(history: Mapping[str, Row]) -> dict[str, Row]:
    """Rows of the latest training, in order; rows of an older, longer one with other settings are left out."""
    names = sorted(history)
    return {name: history[name] for name in names if history[name]["settings"] == history[names[0]]["settings"]}


def best_epoch(history: Mapping[str, Row]) -> str:
    """The epoch with the highest mean validation AUROC, the earliest of equals.

    Without any AUROC (no validated task has both classes) the lowest validation loss decides, and without
    validation the last epoch is taken; both are logged.
    """
    name, by = _best(current_rows(history))
    if by == "loss":
        logger.warning("no task has both classes among the validation studies: the best epoch is chosen by loss")
    elif by == "order":
        logger.warning("there are no validation studies with labels: the last epoch is taken as it is")
    return name


def _best(rows: Mapping[str, Row]) -> tuple[str, str]:
    """Name of the best epoch, and by what it was chosen."""
    if with_auroc := [name for name in sorted(rows) if rows[name].get("validation_auroc") is not None]:
        return max(with_auroc, key=lambda name: float(rows[name]["validation_auroc"])), "auroc"
    if with_loss := [name for name in sorted(rows) if rows[name].get("validation_loss") is not None]:
        return min(with_loss, key=lambda name: float(rows[name]["validation_loss"])), "loss"
    return max(rows), "order"
