"""The `compare` pipeline."""

from typing import Any

from kedro.pipeline import Pipeline, node

from hyperct_pipeline.pipelines.compare import nodes


def create_pipeline(**_: Any) -> Pipeline:
    """study_index, volume_store -> comparison_records -> method_comparison."""
    return Pipeline(
        [
            node(
                nodes.compare_methods,
                inputs={
                    "study_index": "study_index",
                    "volume_store": "volume_store",
                    "comparison_done": "comparison_done",
                    "task_catalogue": "params:task_catalogue",
                    "preprocess": "params:preprocess",
                    "slices": "params:slices",
                    "backbone": "params:backbone",
                    "model": "params:model",
                    "config": "params:fit",
                    "compare": "params:compare",
                },
                outputs="comparison_records",
                name="compare_methods",
            ),
            node(
                nodes.tabulate,
                inputs={
                    "records": "comparison_records",
                    "study_index": "study_index",
                    "volume_store": "volume_store",
                    "task_catalogue": "params:task_catalogue",
                    "compare": "params:compare",
                },
                outputs="method_comparison",
                name="tabulate",
            ),
        ],
        tags="compare",
    )
