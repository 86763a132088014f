"""Adapters of the `fit` pipeline: train, choose the best epoch, draw the curves."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pandas as pd

from hyperct_pipeline.labels.tasks import TaskCatalogueConfig, load_catalogue
from hyperct_pipeline.model.settings import BackboneConfig, HyperCTConfig
from hyperct_pipeline.pipelines.fit.studies import labelled_studies
from hyperct_pipeline.training.settings import FitConfig
from hyperct_pipeline.volumes.preprocessing import PreprocessConfig
from hyperct_pipeline.volumes.slices import SliceConfig
from hyperct_pipeline.volumes.store import VolumeStore

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hyperct_pipeline.training.checkpoint import Checkpoint, ModelPackage
    from hyperct_pipeline.training.history import SavedCheckpoint
else:
    Figure = Checkpoint = ModelPackage = SavedCheckpoint = Any  # kedro starts without torch and matplotlib

Rows = dict[str, dict[str, Any]]


def fit_hyperct(
    study_index: pd.DataFrame,
    volume_store: VolumeStore,
    task_catalogue: TaskCatalogueConfig,
    preprocess: PreprocessConfig,
    slices: SliceConfig,
    backbone: BackboneConfig,
    model: HyperCTConfig,
    config: FitConfig,
    checkpoints_done: Mapping[str, SavedCheckpoint],
) -> Iterator[tuple[dict[str, Checkpoint], Rows]]:
    """Checkpoint and history of each epoch as it ends; goes on after the last one of the same settings.

    On a node of a training that is not node 0: nothing, when the training has ended.
    """
    from hyperct_pipeline.training.dataset import CTStudies
    from hyperct_pipeline.training.history import (
        backbone_digest_of,
        checkpoint_to_resume,
        history_row,
        settings_digest,
    )
    from hyperct_pipeline.training.job import Job
    from hyperct_pipeline.training.launch import fit_job

    tasks, digest = load_catalogue(task_catalogue).ids, preprocess.digest()
    train = labelled_studies(study_index, volume_store, tasks, "train")
    validation = labelled_studies(study_index, volume_store, tasks, "validation")
    weights = backbone_digest_of(backbone)
    settings = settings_digest(backbone, model, slices, config, digest, tasks, (train, validation), weights)
    resume = checkpoint_to_resume(checkpoints_done, settings)
    # a kill may have come between a checkpoint and its history row
    known = {} if resume is None else {f"epoch_{resume.state['epoch']:03d}": history_row(resume)}
    yield {}, (known if config.node_rank == 0 else {})
    trim = model.design.slice_layout == "triplets"
    job = Job(
        backbone,
        model,
        tasks,
        CTStudies(volume_store, train, slices, digest, seed=config.seed, trim=trim),
        CTStudies(volume_store, validation, slices, digest, trim=trim),
        config,
        settings,
    )
    for epoch in fit_job(job, resume):
        yield {epoch.name: epoch.checkpoint}, {epoch.name: history_row(epoch.checkpoint)}


def select_best(
    checkpoints: Mapping[str, SavedCheckpoint],
    training_history: Rows,
    study_index: pd.DataFrame,
    task_catalogue: TaskCatalogueConfig,
    preprocess: PreprocessConfig,
    slices: SliceConfig,
    backbone: BackboneConfig,
    model: HyperCTConfig,
    config: FitConfig,
) -> ModelPackage:
    """The model of the epoch with the highest mean validation AUROC.

    Raises:
        ConfigError: the checkpoint was trained with other tasks, model settings or backbone weights than now.
    """
    from hyperct_pipeline.model.backbone import build_backbone
    from hyperct_pipeline.model.hyperct import HyperCT
    from hyperct_pipeline.training.checkpoint import make_package
    from hyperct_pipeline.training.history import best_epoch, refuse_other_training, start_digest
    from hyperct_pipeline.training.run_state import load_trained

    catalogue = load_catalogue(task_catalogue)
    best = best_epoch(training_history)
    trained = HyperCT(build_backbone(backbone), catalogue.ids, model)
    checkpoint = checkpoints[best]()
    refuse_other_training(checkpoint, catalogue.ids, start_digest(trained), training_history[best]["settings"])
    load_trained(trained, checkpoint)
    groups = {task: catalogue.group_of(task) for task in catalogue.ids}
    training = dict(training_history[best]) | {"seed": config.seed}
    patients = study_index.loc[(study_index["split"] == "train").fillna(False), "patient_key"]
    return make_package(
        trained, backbone, slices, groups, preprocess.digest(), training, asdict(preprocess), patients.dropna()
    )


def draw_training(training_history: Rows, task_catalogue: TaskCatalogueConfig) -> tuple[Figure, Figure]:
    """Curves of the latest training: over all tasks, and of each."""
    from hyperct_pipeline.pipelines.fit.task_curves import task_curves
    from hyperct_pipeline.pipelines.fit.training_curves import training_curves
    from hyperct_pipeline.training.history import best_epoch, current_rows

    catalogue = load_catalogue(task_catalogue)
    groups = {task: catalogue.group_of(task) for task in catalogue.ids}
    names = {task: catalogue.name_of(task) for task in catalogue.ids}
    rows, best = current_rows(training_history), best_epoch(training_history)
    return training_curves(rows, best, groups), task_curves(rows, best, groups, names)
