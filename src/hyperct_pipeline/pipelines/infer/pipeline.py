"""New scans (DICOM folder) -> volumes -> predictions.csv and saliency, with a trained model and no labels."""

from typing import Any

from kedro.pipeline import Pipeline, node, pipeline

from hyperct_pipeline.pipelines.convert import pipeline as convert
from hyperct_pipeline.pipelines.infer import nodes
from hyperct_pipeline.pipelines.preprocess import pipeline as preprocess
from hyperct_pipeline.pipelines.quality import pipeline as quality

NAMESPACE = "infer"


def create_pipeline(**kwargs: Any) -> Pipeline:
    """The image stages once more under the namespace `infer`, then scoring and explanation."""
    images = convert.create_pipeline() + quality.create_pipeline() + preprocess.create_pipeline("preprocess_of_model")
    new_scans = images + pipeline(
        [
            node(
                nodes.ready_model,
                {
                    "trained": "infer_model",
                    "task_catalogue": "params:task_catalogue",
                    "backbone": "params:backbone",
                    "model": "params:model",
                    "slices": "params:slices",
                    "preprocess": "params:preprocess",
                },
                "package",
                name="ready_model",
            ),
            node(
                nodes.preprocess_of_model,
                ["package", "params:preprocess"],
                "preprocess_of_model",
                name="preprocess_of_model",
            ),
            node(
                nodes.score_new_scans,
                {
                    "package": "package",
                    "conversion_manifest": "conversion_manifest",
                    "preprocess_table": "preprocess_table",
                    "volume_store": "volume_store",
                    "calibration": "infer_calibration",
                    "config": "params:infer",
                },
                "predictions",
                name="score_new_scans",
            ),
            node(
                nodes.explain_new_scans,
                {
                    "package": "package",
                    "volume_store": "volume_store",
                    "predictions": "predictions",
                    "task_catalogue": "params:task_catalogue",
                    "config": "params:infer",
                    "explain": "params:explain",
                },
                ["saliency", "saliency_figures"],
                name="explain_new_scans",
            ),
        ]
    )
    return pipeline(
        new_scans,
        namespace=NAMESPACE,
        inputs={"dicom_archive", "pseudonyms", "infer_model", "infer_calibration"},
        parameters={name for name in new_scans.inputs() if name.startswith("params:")},
    )
