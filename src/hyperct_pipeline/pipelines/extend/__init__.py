"""A new task for a trained model."""

from hyperct_pipeline.pipelines.extend.pipeline import create_pipeline

__all__ = ["create_pipeline"]
