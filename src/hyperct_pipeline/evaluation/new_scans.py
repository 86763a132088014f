"""Scoring scans that have no labels: which of them can be scored, and which maps are made."""

import logging

import pandas as pd
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from hyperct_pipeline.errors import ArchiveError, ConfigError
from hyperct_pipeline.evaluation.examples import Example
from hyperct_pipeline.model.settings import ScoringPrecision
from hyperct_pipeline.training.settings import DEVICE_PATTERN

logger = logging.getLogger(__name__)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class InferConfig:
    """How new scans are scored and explained."""

    batch_size: int = Field(default=4, ge=1)  # scans scored together
    device: str = Field(default="auto", pattern=DEVICE_PATTERN)
    precision: ScoringPrecision = "auto"  # of matrix products: fp16 on CUDA, fp32 on a CPU
    saliency_tasks: tuple[str, ...] = ("all",)  # tasks with saliency maps; `all` is every task of the model
    max_saliency_studies: int = Field(default=10, ge=0)  # scans with saliency maps, in order of their keys


def new_scans(conversion_manifest: pd.DataFrame, preprocess_table: pd.DataFrame) -> pd.DataFrame:
    """Every study found: study_key, volume (missing where it cannot be scored) and the reason codes of both steps.

    Raises:
        ArchiveError: no study at all can be scored, with the reasons and their counts.
    """
    prepared = preprocess_table.set_index("study_key")
    scans = conversion_manifest[["study_key", "reason_codes"]].sort_values("study_key", ignore_index=True)
    scans["volume"] = scans["study_key"].map(prepared["volume"])
    # the later step knows better why a study that was converted has no volume
    scans["reason_codes"] = scans["study_key"].map(prepared["reason_codes"]).fillna(scans["reason_codes"])
    if not scans["volume"].notna().any():
        reasons = scans["reason_codes"].value_counts().to_dict()
        raise ArchiveError(
            f"None of the {len(scans)} studies can be scored; reasons and counts: {reasons}. Their messages stand in "
            "infer/02_intermediate/conversion_manifest.csv, those of QUALITY_REJECT in "
            "infer/03_primary/quality_table.csv."
        )
    logger.info("%d of %d studies can be scored", int(scans["volume"].notna().sum()), len(scans))
    return scans


def examples_of_new_scans(predictions: pd.DataFrame, config: InferConfig) -> list[Example]:
    """The scans and tasks that get a saliency map; labels are unknown.

    Raises:
        ConfigError: a task in `saliency_tasks` is not one of the model's.
    """
    scored = predictions[predictions["task"].notna()]
    known = list(dict.fromkeys(scored["task"]))
    tasks = known if config.saliency_tasks == ("all",) else list(config.saliency_tasks)
    if strange := sorted(set(tasks) - set(known)):
        raise ConfigError(f"infer.saliency_tasks names {strange}; the model has {known}")
    studies = sorted(scored["study_key"].unique())[: config.max_saliency_studies]
    shown = scored[scored["study_key"].isin(studies) & scored["task"].isin(tasks)]
    return [
        Example(task, study, None, float(probability))
        for study, task, probability in zip(shown["study_key"], shown["task"], shown["probability"], strict=True)
    ]
