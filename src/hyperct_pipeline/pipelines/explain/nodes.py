"""Adapters of the `explain` pipeline: what the adapters have in common, and what the scores rest on."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from hyperct_pipeline.evaluation.examples import ExplainConfig, choose_examples
from hyperct_pipeline.labels.tasks import TaskCatalogueConfig, load_catalogue
from hyperct_pipeline.volumes.store import VolumeStore
from hyperct_pipeline.volumes.volume import ScalarVolume

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hyperct_pipeline.training.checkpoint import ModelPackage
else:
    ModelPackage = Figure = Any  # kedro starts without torch and matplotlib


def analyse_adapters(
    model_package: ModelPackage, task_catalogue: TaskCatalogueConfig
) -> tuple[pd.DataFrame, pd.DataFrame, Figure]:
    """PCA and similarity of the tasks' weight updates, and their figure."""
    from hyperct_pipeline.evaluation.lora_figure import lora_pca_figure
    from hyperct_pipeline.evaluation.lora_pca import pca_table, similarity_table, update_grams

    catalogue = load_catalogue(task_catalogue)
    grams = update_grams(model_package.model)
    pca = pca_table(grams, model_package.tasks, model_package.task_groups)
    similarity = similarity_table(grams, model_package.tasks)
    names = {task: catalogue.name_of(task) for task in model_package.tasks}
    return pca, similarity, lora_pca_figure(pca, similarity, names)


def explain_studies(
    model_package: ModelPackage,
    volume_store: VolumeStore,
    predictions: pd.DataFrame,
    task_catalogue: TaskCatalogueConfig,
    config: ExplainConfig,
) -> tuple[dict[str, ScalarVolume], dict[str, Figure], Figure]:
    """Saliency maps of the chosen studies, their montages, and one overview of all tasks."""
    from hyperct_pipeline.evaluation.saliency_figures import explained, saliency_overview
    from hyperct_pipeline.training.device import device_of

    catalogue = load_catalogue(task_catalogue)
    names = {task: catalogue.name_of(task) for task in model_package.tasks}
    examples = choose_examples(predictions, config)
    shown = list(explained(model_package, volume_store, examples, names, device_of(config.device), config))
    first = {part.peak.example.task: part.peak for part in reversed(shown)}
    overview = saliency_overview([first[t] for t in names if t in first], names, config.display_window_hu)
    volumes = {part.peak.example.name: part.volume for part in shown}
    return volumes, {part.peak.example.name: part.figure for part in shown}, overview
