"""Trained model -> PCA of its adapters, saliency of its predictions."""

from typing import Any

from kedro.pipeline import Pipeline, node, pipeline

from hyperct_pipeline.pipelines.explain import nodes


def create_pipeline(**kwargs: Any) -> Pipeline:
    """What the tasks' adapters have in common, and where the model looked."""
    return pipeline(
        [
            node(
                nodes.analyse_adapters,
                {"model_package": "model_package", "task_catalogue": "params:task_catalogue"},
                ["lora_pca", "lora_similarity", "lora_separation", "lora_pca_figure"],
                name="analyse_adapters",
            ),
            node(
                nodes.explain_studies,
                {
                    "model_package": "model_package",
                    "volume_store": "volume_store",
                    "predictions": "predictions@own",
                    "task_catalogue": "params:task_catalogue",
                    "config": "params:explain",
                },
                ["saliency", "saliency_figures", "saliency_overview", "saliency_checks"],
                name="explain_studies",
            ),
        ],
        tags="explain",
    )
