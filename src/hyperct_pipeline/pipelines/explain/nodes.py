"""Adapters of the `explain` pipeline: what the adapters have in common, and what the scores rest on."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from hyperct_pipeline.evaluation.adapter_names import TRAINED, UNTRAINED
from hyperct_pipeline.evaluation.examples import ExplainConfig, check_model, choose_examples
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
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, Figure]:
    """PCA, similarity and separation of the tasks' weight updates, beside untrained controls, and their figure."""
    from hyperct_pipeline.evaluation.control_models import untrained_models
    from hyperct_pipeline.evaluation.group_separation import separation_table
    from hyperct_pipeline.evaluation.lora_figure import lora_pca_figure
    from hyperct_pipeline.evaluation.lora_pca import pca_table, similarity_table
    from hyperct_pipeline.evaluation.update_grams import update_grams

    tasks, groups = model_package.tasks, model_package.task_groups
    trained = update_grams(model_package.model)
    untrained = [update_grams(control) for control in untrained_models(model_package)]
    pca = pd.concat(
        [
            pca_table(grams, tasks, groups).assign(weights=w)
            for grams, w in ((trained, TRAINED), (untrained[0], UNTRAINED))
        ],
        ignore_index=True,
    ).assign(model_id=model_package.model_id)
    similarity = similarity_table(trained, tasks)
    separation = separation_table(trained, untrained, tasks, groups)
    names = _names(model_package, task_catalogue)
    return pca, similarity, separation, lora_pca_figure(pca, similarity, separation, names)


def explain_studies(
    model_package: ModelPackage,
    volume_store: VolumeStore,
    predictions: pd.DataFrame,
    task_catalogue: TaskCatalogueConfig,
    config: ExplainConfig,
) -> tuple[dict[str, ScalarVolume], dict[str, Figure], Figure, pd.DataFrame]:
    """Saliency maps of the chosen studies, their montages, one overview of all tasks, and the maps' sanity checks.

    Raises:
        PackageError: the predictions are of another model.
    """
    from hyperct_pipeline.evaluation.control_models import random_model, untrained_model
    from hyperct_pipeline.evaluation.saliency_checks import COLUMNS, saliency_check
    from hyperct_pipeline.evaluation.saliency_figures import explained, saliency_overview
    from hyperct_pipeline.training.device import device_of

    names = _names(model_package, task_catalogue)
    check_model(predictions, model_package.model_id)
    examples, device = choose_examples(predictions, config), device_of(config.device)
    shown = list(explained(model_package, volume_store, examples, names, device, config))
    first = {part.peak.example.task: part.peak for part in reversed(shown)}
    overview = saliency_overview([first[t] for t in names if t in first], names, config.display_window_hu)
    untrained, random, checks = untrained_model(model_package), random_model(model_package), []
    for example in examples:
        stored = volume_store.get(example.study_key)
        check = saliency_check(model_package, untrained, random, stored, example.task, device)
        checks.append(check.row(example.study_key, example.task, model_package.model_id))
    volumes = {part.peak.example.name: part.volume for part in shown}
    montages = {part.peak.example.name: part.figure for part in shown}
    return volumes, montages, overview, pd.DataFrame(checks, columns=list(COLUMNS))


def _names(model_package: ModelPackage, task_catalogue: TaskCatalogueConfig) -> dict[str, str]:
    """Task of the model -> display name; a task that the catalogue no longer knows is shown by its id."""
    catalogue = load_catalogue(task_catalogue)
    return {task: catalogue.name_of(task) if task in catalogue.ids else task for task in model_package.tasks}
