"""Label harmonization: tables of any hospital to three-valued labels of the task catalogue."""

from hyperct_pipeline.labels.harmonization import harmonize

__all__ = ["harmonize"]
