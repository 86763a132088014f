"""Adapters of the `harmonize` pipeline: label tables in, labels per study out."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from hyperct_pipeline.labels.harmonization_report import cohort_flow, harmonization_report
from hyperct_pipeline.labels.sources import LabelSourcesConfig, load_sources
from hyperct_pipeline.labels.study_index import HarmonizeConfig, harmonize_all
from hyperct_pipeline.labels.tasks import TaskCatalogueConfig, load_catalogue
from hyperct_pipeline.pseudonyms import Pseudonyms

if TYPE_CHECKING:
    from matplotlib.figure import Figure
else:
    Figure = Any  # kedro starts without matplotlib


def harmonize_labels(
    label_tables: dict[str, pd.DataFrame],
    cohorts: pd.DataFrame,
    pseudonyms: Pseudonyms,
    conversion_manifest: pd.DataFrame,
    preprocess_table: pd.DataFrame,
    task_catalogue: TaskCatalogueConfig,
    label_sources: LabelSourcesConfig,
    config: HarmonizeConfig,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """labels, study_index, harmonization_report, cohort_flow."""
    catalogue = load_catalogue(task_catalogue)
    result = harmonize_all(
        label_tables,
        cohorts,
        pseudonyms,
        conversion_manifest,
        preprocess_table,
        catalogue,
        load_sources(label_sources, catalogue),
        config,
    )
    report, flow = harmonization_report(result, catalogue), cohort_flow(result.index, catalogue)
    return result.labels, result.index, report, flow


def draw_prevalence(study_index: pd.DataFrame, task_catalogue: TaskCatalogueConfig) -> Figure:
    """Prevalence and number of known labels per task and cohort."""
    from hyperct_pipeline.labels.prevalence import prevalence_figure

    return prevalence_figure(study_index, load_catalogue(task_catalogue))
