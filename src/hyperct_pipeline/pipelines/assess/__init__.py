"""The `assess` pipeline."""

from hyperct_pipeline.pipelines.assess.pipeline import create_pipeline

__all__ = ["create_pipeline"]
