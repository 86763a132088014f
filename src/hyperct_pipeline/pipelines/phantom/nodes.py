"""Node of the `phantom` pipeline."""

from pathlib import Path

from hyperct_pipeline.phantom import PhantomConfig, write_phantom
from hyperct_pipeline.phantom.archive import Tables


def write_archive(folder: Path, config: PhantomConfig) -> Tables:
    """Write the synthetic DICOM archive and return (truth, ct_rate, hyperct_wide, echo_metric, cohorts)."""
    return write_phantom(folder, config)
