"""DICOM archive to one NIfTI per study, with an index of series and a manifest of studies."""
