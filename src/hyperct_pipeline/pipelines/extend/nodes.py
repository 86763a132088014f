"""Adapters of the `extend` pipeline."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hyperct_pipeline.errors import ConfigError
from hyperct_pipeline.labels.tasks import TaskCatalogueConfig, load_catalogue
from hyperct_pipeline.pipelines.fit.studies import labelled_studies
from hyperct_pipeline.training.settings import ExtendConfig, FitConfig
from hyperct_pipeline.volumes.store import VolumeStore

if TYPE_CHECKING:
    from hyperct_pipeline.training.checkpoint import ModelPackage
    from hyperct_pipeline.training.dataset import CTStudies
else:
    ModelPackage = CTStudies = Any  # kedro starts without torch


def extend_model(
    model_package: ModelPackage,
    study_index: pd.DataFrame,
    volume_store: VolumeStore,
    task_catalogue: TaskCatalogueConfig,
    config: FitConfig,
    extend: ExtendConfig,
) -> ModelPackage:
    """The model with the embedding of one task more.

    Raises:
        ConfigError: no task is named, or the catalogue does not have it; or several processes are asked for.
    """
    from hyperct_pipeline.training.extension import extended
    from hyperct_pipeline.training.launch import refuse_processes

    refuse_processes(config, "extend")
    catalogue = load_catalogue(task_catalogue)
    if extend.task not in catalogue.ids:
        raise ConfigError(
            f"extend.task is '{extend.task}': name one of task_catalogue.tasks that `harmonize` has made labels for"
        )
    train, validation = (
        _studies(model_package, study_index, volume_store, extend.task, split, seed)
        for split, seed in (("train", config.seed), ("validation", None))
    )
    group = catalogue.group_of(extend.task)
    return extended(model_package, extend.task, group, train, validation, replace(config, lr=extend.lr))


def _studies(
    package: ModelPackage, study_index: pd.DataFrame, store: VolumeStore, task: str, split: str, seed: int | None
) -> CTStudies:
    """Studies with a known label of the task; the model's own tasks stand before it as unknown."""
    from hyperct_pipeline.training.dataset import CTStudies, LabelledStudies

    known = labelled_studies(study_index, store, [task], split)
    labels = np.full((len(known.labels), len(package.tasks) + 1), -1, dtype=np.int8)
    labels[:, -1] = known.labels[:, 0]
    studies = LabelledStudies(known.study_keys, known.patient_keys, labels, known.volume_digests)
    trim = package.model_config.design.slice_layout == "triplets"
    return CTStudies(store, studies, package.slice_config, package.preprocess_digest, seed, trim)
