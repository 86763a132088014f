"""The `harmonize` pipeline."""

from hyperct_pipeline.pipelines.harmonize.pipeline import create_pipeline

__all__ = ["create_pipeline"]
