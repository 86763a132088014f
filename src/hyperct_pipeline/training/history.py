"""What earlier epochs left behind: from where training goes on, and which epoch is the best."""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from hyperct_pipeline.errors import PackageError
from hyperct_pipeline.model.settings import BackboneConfig, HyperCTConfig
from hyperct_pipeline.training.checkpoint import Checkpoint
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
) -> str:
    """Digest of everything the weights depend on: settings, tasks, studies, voxels and labels; not the device."""
    settings = [dataclasses.asdict(part) for part in (backbone, model, slices, config.for_digest())]
    digest = hashlib.sha256(json.dumps([settings, preprocess_digest, tasks], sort_keys=True).encode())
    for split in splits:
        digest.update(json.dumps([split.study_keys, split.patient_keys, split.volume_digests]).encode())
        digest.update(split.labels.tobytes())
    return digest.hexdigest()[:16]


def checkpoint_to_resume(done: Mapping[str, Callable[[], Checkpoint]], settings: str) -> Checkpoint | None:
    """The newest checkpoint in line with the first: of the same settings as now, or None to begin anew.

    A run with other settings begins at the first epoch and overwrites; what lies behind its newest epoch is old.
    """
    found = None
    for name in sorted(done):
        try:
            checkpoint = done[name]()
        except PackageError as error:
            logger.warning("%s; training goes on from the checkpoint before", error)
            break
        if checkpoint.state["settings"] != settings:
            break
        found = checkpoint
    if found is not None:
        logger.info("training goes on after epoch %d", found.state["epoch"])
    elif done:
        logger.info("settings or data have changed since the last training: it begins anew")
    return found


def history_row(checkpoint: Checkpoint) -> dict[str, Any]:
    """`epoch`, `settings` and the metrics of an epoch, in one flat row."""
    state = checkpoint.state
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
    rows = current_rows(history)
    if with_auroc := [name for name, row in rows.items() if row.get("validation_auroc") is not None]:
        return max(with_auroc, key=lambda name: float(rows[name]["validation_auroc"]))
    if with_loss := [name for name, row in rows.items() if row.get("validation_loss") is not None]:
        logger.warning("no task has both classes among the validation studies: the best epoch is chosen by loss")
        return min(with_loss, key=lambda name: float(rows[name]["validation_loss"]))
    logger.warning("there are no validation studies with labels: the last epoch is taken as it is")
    return list(rows)[-1]
