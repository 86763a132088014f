"""Node of the `phantom` pipeline."""

from pathlib import Path

from hyperct_pipeline.phantom import PhantomConfig, write_phantom


def write_archive(folder: Path, config: PhantomConfig) -> None:
    """Write the synthetic DICOM archive and its label tables.

    The tables are no outputs: Kedro would save them one by one after the images stand, and a kill in between would
    leave new images beside old labels.
    """
    write_phantom(folder, config)
