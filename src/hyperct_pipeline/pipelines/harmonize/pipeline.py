"""Label tables -> labels, the study index and the harmonization report."""

from typing import Any

from kedro.pipeline import Pipeline, node

from hyperct_pipeline.pipelines.harmonize import nodes

TABLES = (
    "harmonization_report", "eligibility", "cohort_flow", "pairing_counts", "definition_flips", "unmapped_words",
    "label_conflicts", "unit_suspicions",
)  # fmt: skip


def create_pipeline(**_: Any) -> Pipeline:
    """label_tables, cohorts, conversion results -> labels, study_index, tables and figures of the report, the page."""
    catalogue = {"task_catalogue": "params:task_catalogue"}
    return Pipeline(
        [
            node(
                nodes.harmonize_labels,
                inputs={
                    "label_tables": "label_tables",
                    "cohorts": "cohorts",
                    "pseudonyms": "pseudonyms",
                    "conversion_manifest": "conversion_manifest",
                    "preprocess_table": "preprocess_table",
                    "earlier_splits": "earlier_splits",
                    "label_sources": "params:label_sources",
                    "config": "params:harmonize",
                }
                | catalogue,
                outputs={name: name for name in ("labels", "study_index", "split_assignments", *TABLES)},
                name="harmonize_labels",
            ),
            node(
                nodes.draw_prevalence,
                inputs={"study_index": "study_index"} | catalogue,
                outputs="label_prevalence",
                name="draw_prevalence",
            ),
            node(
                nodes.draw_labels,
                inputs={
                    "labels": "labels",
                    "study_index": "study_index",
                    "harmonization_report": "harmonization_report",
                    "config": "params:harmonize",
                }
                | catalogue,
                outputs="label_figures",
                name="draw_labels",
            ),
            node(
                nodes.write_page,
                inputs={name: name for name in (*TABLES, "label_prevalence", "label_figures")} | catalogue,
                outputs="harmonization_page",
                name="write_harmonization_page",
            ),
        ],
        tags="harmonize",
    )
