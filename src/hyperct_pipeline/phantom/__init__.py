"""A synthetic archive of chest CT: real DICOM series and messy label tables with known truth."""

from hyperct_pipeline.phantom.archive import write_phantom
from hyperct_pipeline.phantom.cohort import PhantomConfig

__all__ = ["PhantomConfig", "write_phantom"]
