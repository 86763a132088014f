"""The `predict` pipeline."""

from hyperct_pipeline.pipelines.predict.pipeline import create_pipeline

__all__ = ["create_pipeline"]
