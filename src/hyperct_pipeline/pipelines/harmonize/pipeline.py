"""Label tables -> labels and the study index."""

from typing import Any

from kedro.pipeline import Pipeline, node

from hyperct_pipeline.pipelines.harmonize import nodes


def create_pipeline(**_: Any) -> Pipeline:
    """label_tables, cohorts, conversion results -> labels, study_index, harmonization_report, cohort_flow, figure."""
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
                    "task_catalogue": "params:task_catalogue",
                    "label_sources": "params:label_sources",
                    "config": "params:harmonize",
                },
                outputs=["labels", "study_index", "harmonization_report", "cohort_flow"],
                name="harmonize_labels",
            ),
            node(
                nodes.draw_prevalence,
                inputs={"study_index": "study_index", "task_catalogue": "params:task_catalogue"},
                outputs="label_prevalence",
                name="draw_prevalence",
            ),
        ],
        tags="harmonize",
    )
