"""The `fit` pipeline."""

from typing import Any

from kedro.pipeline import Pipeline, node

from hyperct_pipeline.pipelines.fit import nodes

_MODEL = {
    "task_catalogue": "params:task_catalogue",
    "preprocess": "params:preprocess",
    "slices": "params:slices",
    "backbone": "params:backbone",
    "model": "params:model",
    "config": "params:fit",
}


def create_pipeline(**_: Any) -> Pipeline:
    """study_index, volume_store -> checkpoints, training_history -> model_package, training_curves, task_curves."""
    return Pipeline(
        [
            node(
                nodes.fit_hyperct,
                inputs={
                    "study_index": "study_index",
                    "volume_store": "volume_store",
                    "checkpoints_done": "checkpoints_done",
                    **_MODEL,
                },
                outputs=["checkpoints", "training_history"],
                name="fit_hyperct",
            ),
            node(
                nodes.select_best,
                inputs={
                    "checkpoints": "checkpoints",
                    "training_history": "training_history",
                    "study_index": "study_index",
                    **_MODEL,
                },
                outputs="model_package",
                name="select_best",
            ),
            node(
                nodes.draw_training,
                inputs={"training_history": "training_history", "task_catalogue": "params:task_catalogue"},
                outputs=["training_curves", "task_curves"],
                name="draw_training",
            ),
        ],
        tags="fit",
    )
