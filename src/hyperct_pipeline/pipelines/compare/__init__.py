"""Comparison of methods."""

from hyperct_pipeline.pipelines.compare.pipeline import create_pipeline

__all__ = ["create_pipeline"]
