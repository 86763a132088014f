"""The `extend` pipeline."""

from typing import Any

from kedro.pipeline import Pipeline, node

from hyperct_pipeline.pipelines.extend import nodes


def create_pipeline(**_: Any) -> Pipeline:
    """model_package, study_index, volume_store -> extended_package."""
    return Pipeline(
        [
            node(
                nodes.extend_model,
                inputs={
                    "model_package": "model_package",
                    "study_index": "study_index",
                    "volume_store": "volume_store",
                    "task_catalogue": "params:task_catalogue",
                    "config": "params:fit",
                    "extend": "params:extend",
                },
                outputs="extended_package",
                name="extend_model",
            )
        ],
        tags="extend",
    )
