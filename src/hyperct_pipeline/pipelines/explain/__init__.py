"""The `explain` pipeline."""

from hyperct_pipeline.pipelines.explain.pipeline import create_pipeline

__all__ = ["create_pipeline"]
