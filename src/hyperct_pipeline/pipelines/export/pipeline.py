"""The `export` pipeline."""

from typing import Any

from kedro.pipeline import Pipeline, node

from hyperct_pipeline.pipelines.export import nodes


def create_pipeline(**_: Any) -> Pipeline:
    """model_package -> task_adapters."""
    return Pipeline(
        [
            node(
                nodes.export_tasks,
                inputs=["model_package", "params:export"],
                outputs="task_adapters",
                name="export_tasks",
            )
        ],
        tags="export",
    )
