"""Best model -> scores of validation and test -> calibrators from validation -> predictions."""

from typing import Any

from kedro.pipeline import Pipeline, node, pipeline

from hyperct_pipeline.pipelines.predict import nodes


def create_pipeline(**kwargs: Any) -> Pipeline:
    """Score, calibrate, and describe the model that did it."""
    return pipeline(
        [
            node(
                nodes.score_studies,
                {
                    "model_package": "model_package",
                    "study_index": "study_index",
                    "volume_store": "volume_store",
                    "config": "params:predict",
                },
                "scored",
                name="score_studies",
            ),
            node(
                nodes.calibrate,
                {"scored": "scored", "config": "params:recalibration"},
                "calibration",
                name="fit_calibration",
            ),
            node(
                nodes.recalibrate,
                {"scored": "scored", "calibration": "calibration"},
                "predictions@own",
                name="apply_calibration",
            ),
            node(nodes.describe_model, {"model_package": "model_package"}, "model_card", name="describe_model"),
        ],
        tags="predict",
    )
