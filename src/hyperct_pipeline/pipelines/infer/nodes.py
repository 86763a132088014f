"""Adapters of the `infer` pipeline: new scans, a trained model, no labels."""

import logging
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from hyperct_pipeline.errors import PackageError
from hyperct_pipeline.evaluation.examples import ExplainConfig
from hyperct_pipeline.evaluation.new_scans import InferConfig, examples_of_new_scans, new_scans
from hyperct_pipeline.evaluation.prediction_problems import THRESHOLDS
from hyperct_pipeline.evaluation.predictions import predictions_table
from hyperct_pipeline.evaluation.recalibration import apply_calibration
from hyperct_pipeline.labels.tasks import TaskCatalogueConfig, load_catalogue
from hyperct_pipeline.model.settings import BackboneConfig, HyperCTConfig
from hyperct_pipeline.volumes.preprocessing import PreprocessConfig
from hyperct_pipeline.volumes.slices import SliceConfig
from hyperct_pipeline.volumes.store import VolumeStore
from hyperct_pipeline.volumes.volume import ScalarVolume

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hyperct_pipeline.training.checkpoint import ModelPackage
else:
    ModelPackage = Figure = Any  # kedro starts without torch and matplotlib


UNTRAINED = "untrained"
COLUMNS = ("study_key", "task", "logit", "probability", "probability_calibrated", *THRESHOLDS, "model_id")
logger = logging.getLogger(__name__)


def ready_model(
    trained: ModelPackage | None,
    task_catalogue: TaskCatalogueConfig,
    backbone: BackboneConfig,
    model: HyperCTConfig,
    slices: SliceConfig,
    preprocess: PreprocessConfig,
) -> ModelPackage:
    """The trained package, or for `model=untrained` a fresh model of the configured shape."""
    from hyperct_pipeline.training.checkpoint import untrained_package

    if trained is not None:
        return trained
    logger.warning("The model is untrained: shapes are real, probabilities mean nothing")
    catalogue = load_catalogue(task_catalogue)
    groups = {task: catalogue.group_of(task) for task in catalogue.ids}
    return untrained_package(backbone, model, slices, groups, preprocess.digest(), asdict(preprocess))


def preprocess_of_model(package: ModelPackage, preprocess: PreprocessConfig) -> PreprocessConfig:
    """How the model's own scans were prepared: new ones are prepared likewise, whatever the parameters say now.

    Only how volumes are kept is taken from the parameters, because it changes no voxel.

    Raises:
        PackageError: the package does not say, or this version of the software prepares scans differently.
    """
    settings = PreprocessConfig(**package.preprocess) if package.preprocess else None
    if settings is None or settings.digest() != package.preprocess_digest:
        found = "the package does not say how" if settings is None else f"this version makes {settings.digest()}"
        raise PackageError(
            f"The model needs scans prepared as {package.preprocess_digest}, but {found}: score with the version of "
            "hyperct_pipeline that trained the model, or train it again."
        )
    return replace(settings, store=preprocess.store, verify_store=preprocess.verify_store)


def score_new_scans(
    package: ModelPackage,
    conversion_manifest: pd.DataFrame,
    preprocess_table: pd.DataFrame,
    volume_store: VolumeStore,
    calibration: dict[str, Any] | None,
    config: InferConfig,
) -> pd.DataFrame:
    """Logit, probability, recalibrated probability and thresholds of every task for every scan: `COLUMNS`.

    A scan without a volume keeps a row with its reason. A probability of at least a threshold is a positive call; the
    thresholds and the recalibrated probability come from validation, and are unknown where the model comes without a
    calibration (`predict` writes it into the package), or none could be fitted for the task.
    """
    from hyperct_pipeline.evaluation.inference import logged_progress, predict_logits
    from hyperct_pipeline.training.device import device_of

    scans = new_scans(conversion_manifest, preprocess_table)
    keys = list(scans.loc[scans["volume"].notna(), "study_key"])
    device = device_of(config.device)
    logits = predict_logits(package, volume_store, keys, device, config.batch_size, logged_progress(), config.precision)
    model_id = package.model_id if package.training else f"{UNTRAINED} {package.model_id}"
    scored = predictions_table(scans[scans["volume"].notna()], logits, package.tasks, model_id)
    if calibration is None:
        logger.warning("The model has no calibration: probability_calibrated stays unknown; `predict` fits one")
    elif package.training:
        scored = apply_calibration(scored, calibration)
    scored = scored.reindex(columns=list(COLUMNS))
    refused = scans.loc[scans["volume"].isna(), ["study_key", "reason_codes"]]
    return pd.concat([scored, refused], ignore_index=True)


def explain_new_scans(
    package: ModelPackage,
    volume_store: VolumeStore,
    predictions: pd.DataFrame,
    task_catalogue: TaskCatalogueConfig,
    config: InferConfig,
    explain: ExplainConfig,
) -> Iterator[tuple[dict[str, ScalarVolume], dict[str, Figure]]]:
    """Saliency of each chosen scan and task, one at a time."""
    from hyperct_pipeline.evaluation.saliency_figures import explained
    from hyperct_pipeline.training.device import device_of

    catalogue = load_catalogue(task_catalogue)
    names = {task: catalogue.name_of(task) if task in catalogue.ids else task for task in package.tasks}
    examples = examples_of_new_scans(predictions, config)
    yield {}, {}  # maps of an earlier run go
    for part in explained(package, volume_store, examples, names, device_of(config.device), explain):
        name = part.peak.example.name
        yield {name: part.volume}, {name: part.figure}
