"""The `phantom` pipeline."""

from hyperct_pipeline.pipelines.phantom.pipeline import create_pipeline

__all__ = ["create_pipeline"]
