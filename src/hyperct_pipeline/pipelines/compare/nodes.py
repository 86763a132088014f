"""Adapters of the `compare` pipeline: one record per method and seed, and their table."""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from hyperct_pipeline.errors import ConfigError
from hyperct_pipeline.labels.tasks import TaskCatalogueConfig, load_catalogue
from hyperct_pipeline.model.settings import BackboneConfig, HyperCTConfig
from hyperct_pipeline.pipelines.fit.studies import labelled_studies
from hyperct_pipeline.training.settings import CompareConfig, FitConfig
from hyperct_pipeline.volumes.preprocessing import PreprocessConfig
from hyperct_pipeline.volumes.slices import SliceConfig
from hyperct_pipeline.volumes.store import VolumeStore

logger = logging.getLogger(__name__)

Records = dict[str, dict[str, Any]]


def compare_methods(
    study_index: pd.DataFrame,
    volume_store: VolumeStore,
    task_catalogue: TaskCatalogueConfig,
    preprocess: PreprocessConfig,
    slices: SliceConfig,
    backbone: BackboneConfig,
    model: HyperCTConfig,
    config: FitConfig,
    compare: CompareConfig,
    comparison_done: Mapping[str, Mapping[str, Any]],
) -> Iterator[Records]:
    """The record of each run as it ends; runs that have been made with the same settings and data are not repeated."""
    from hyperct_pipeline.training.comparison import made_before, record_of, runs_of
    from hyperct_pipeline.training.dataset import CTStudies, refuse_shared_patients
    from hyperct_pipeline.training.history import backbone_digest_of, settings_digest
    from hyperct_pipeline.training.job import Job
    from hyperct_pipeline.training.launch import refuse_processes

    runs = runs_of(compare, model, config)
    for run in runs:  # before any data are read
        refuse_processes(run.config, "compare")
    tasks, digest = load_catalogue(task_catalogue).ids, preprocess.digest()
    splits = [labelled_studies(study_index, volume_store, tasks, s) for s in ("train", "validation", compare.split)]
    for known in splits[:2]:
        if compare.split != "validation":
            refuse_shared_patients(known, splits[2])
    weights = backbone_digest_of(backbone)
    yield {}
    for run in runs:
        trim = run.model.design.slice_layout == "triplets"
        settings = settings_digest(backbone, run.model, slices, run.config, digest, tasks, tuple(splits), weights)
        if made_before(comparison_done.get(run.name, {}), settings, compare.max_seconds):
            logger.info("%s has been made before", run.name)
            continue
        train, validation, test = (
            CTStudies(volume_store, split, slices, digest, seed, trim)
            for split, seed in zip(splits, (run.seed, None, None), strict=True)
        )
        job = Job(backbone, run.model, tasks, train, validation, run.config, settings)
        yield {run.name: record_of(run, job, test, compare) | {"settings": settings}}


def tabulate(
    records: Records,
    study_index: pd.DataFrame,
    volume_store: VolumeStore,
    task_catalogue: TaskCatalogueConfig,
    compare: CompareConfig,
) -> pd.DataFrame:
    """One row per method and task group.

    Raises:
        ConfigError: records of other held-out studies than now.
    """
    from hyperct_pipeline.training.comparison_table import comparison_rows

    catalogue = load_catalogue(task_catalogue)
    test = labelled_studies(study_index, volume_store, catalogue.ids, compare.split)
    wanted = {f"{method}_seed{seed}" for method in compare.methods for seed in compare.seeds}
    own = [record for name, record in records.items() if name in wanted]
    if any(len(record["logits"]) != len(test.study_keys) for record in own):
        raise ConfigError("the comparison has records of other held-out studies: run `kedro run --pipelines=compare`")
    groups = {task: catalogue.group_of(task) for task in catalogue.ids}
    return pd.DataFrame(comparison_rows(own, catalogue.ids, groups, test.labels, test.patient_keys, compare))
