"""DICOM: which files form which series, which series is the chest CT, and a volume of it to be trusted."""
