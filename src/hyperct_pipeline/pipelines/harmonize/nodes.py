"""Adapters of the `harmonize` pipeline: label tables in, labels per study and a report out."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from hyperct_pipeline.labels.harmonization_report import (
    cohort_flow,
    conflicts_table,
    harmonization_report,
    unit_suspicions_table,
    unmapped_words_table,
)
from hyperct_pipeline.labels.sources import LabelSourcesConfig, load_sources
from hyperct_pipeline.labels.splits import split_assignments
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
    earlier_splits: pd.DataFrame,
    task_catalogue: TaskCatalogueConfig,
    label_sources: LabelSourcesConfig,
    config: HarmonizeConfig,
) -> dict[str, pd.DataFrame]:
    """Labels, study index, split assignments and the tables of the report, by the names they have in the catalog."""
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
        earlier_splits,
    )
    return {
        "labels": result.labels,
        "study_index": result.index,
        "split_assignments": split_assignments(result.index, config.splits, earlier_splits),
        "eligibility": result.eligibility,
        "harmonization_report": harmonization_report(result, catalogue, config.splits.min_positives),
        "cohort_flow": cohort_flow(result.index, catalogue, result.eligibility),
        "pairing_counts": result.pairing,
        "definition_flips": result.flips,
        "unmapped_words": unmapped_words_table(result),
        "label_conflicts": conflicts_table(result.labels),
        "unit_suspicions": unit_suspicions_table(result),
    }


def draw_prevalence(study_index: pd.DataFrame, task_catalogue: TaskCatalogueConfig) -> Figure:
    """Prevalence and number of known labels per task, site and split."""
    from hyperct_pipeline.labels.prevalence import prevalence_figure

    return prevalence_figure(study_index, load_catalogue(task_catalogue))


def draw_labels(
    labels: pd.DataFrame,
    study_index: pd.DataFrame,
    harmonization_report: pd.DataFrame,
    task_catalogue: TaskCatalogueConfig,
    config: HarmonizeConfig,
) -> dict[str, Figure]:
    """What is missing, what comes together, and how far the echoes lie from the scans."""
    from hyperct_pipeline.labels import label_figures

    catalogue = load_catalogue(task_catalogue)
    return {
        "missingness": label_figures.missingness_figure(harmonization_report, study_index, catalogue),
        "co_occurrence": label_figures.co_occurrence_figure(study_index, catalogue),
        "echo_gap": label_figures.echo_gap_figure(labels, study_index, config.linkage.report_at_days),
    }


def write_page(
    harmonization_report: pd.DataFrame,
    eligibility: pd.DataFrame,
    cohort_flow: pd.DataFrame,
    pairing_counts: pd.DataFrame,
    definition_flips: pd.DataFrame,
    unmapped_words: pd.DataFrame,
    label_conflicts: pd.DataFrame,
    unit_suspicions: pd.DataFrame,
    label_prevalence: bytes,
    label_figures: dict[str, bytes],
    task_catalogue: TaskCatalogueConfig,
) -> str:
    """The HTML page."""
    from hyperct_pipeline.labels.harmonization_page import Evidence, harmonization_page

    evidence = Evidence(
        harmonization_report, eligibility, cohort_flow, pairing_counts, definition_flips, unmapped_words,
        label_conflicts, unit_suspicions,
    )  # fmt: skip
    return harmonization_page(evidence, {"prevalence": label_prevalence, **label_figures}, task_catalogue)
