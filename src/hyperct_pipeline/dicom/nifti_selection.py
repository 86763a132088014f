"""Judges the volumes of a NIfTI cohort by the rules that hold for DICOM series."""

from itertools import groupby
from pathlib import Path

import pandas as pd

from hyperct_pipeline.dicom.candidate import Candidate, content_reasons, size_reasons
from hyperct_pipeline.dicom.decisions import Decisions
from hyperct_pipeline.dicom.nifti_cohort import NiftiCohort
from hyperct_pipeline.dicom.nifti_volume import NiftiGeometry, NiftiSource, geometry_of
from hyperct_pipeline.dicom.selection import ChosenSeries, choose
from hyperct_pipeline.dicom.selection_config import SelectionConfig
from hyperct_pipeline.dicom.series import SeriesGroup
from hyperct_pipeline.dicom.vocabulary import has_contrast
from hyperct_pipeline.pseudonyms import Pseudonyms


def select_volumes(
    cohort: NiftiCohort, pseudonyms: Pseudonyms, config: SelectionConfig, decisions: Decisions
) -> tuple[pd.DataFrame, list[ChosenSeries]]:
    """The series index, one row per volume of the table, and the volumes to convert; both sorted by key."""
    studies = (
        (study, [_judged(group, cohort.files_of(group), pseudonyms, decisions, config) for group in members])
        for study, members in groupby(cohort, key=lambda group: group.study_uid)
    )
    return choose(studies, pseudonyms, config, decisions, cohort.lost)


def _judged(
    group: SeriesGroup, files: list[str], pseudonyms: Pseudonyms, decisions: Decisions, config: SelectionConfig
) -> Candidate:
    study, name, (header,) = group.study_uid, group.series_uid, group.headers
    series_key = pseudonyms.series_key(name, 0)
    geometry, source = _looked_up(files)
    if geometry.shape_zyx:
        header.numbers.update(Rows=(geometry.shape_zyx[1],), Columns=(geometry.shape_zyx[2],))
    contrast = has_contrast([header], config.vocabulary)
    warnings = ["CONTRAST"] if contrast and config.allow_contrast else []
    reasons = content_reasons((header,), config)
    if geometry.shape_zyx and geometry.spacing_mm:
        n_slices, spacing_mm = geometry.shape_zyx[0], geometry.spacing_mm[0]
        reasons += size_reasons(n_slices, n_slices * spacing_mm, config)
    taken = decisions.takes((name, series_key))
    if taken:
        warnings += ["TAKEN_BY_PERSON", *reasons]
        reasons = []
    excluded = decisions.excludes((study, pseudonyms.study_key(study), name, series_key))
    return Candidate(
        group=group,
        series_key=series_key,
        source=source,
        n_slices=geometry.shape_zyx[0] if geometry.shape_zyx else 0,
        spacing_mm=round(geometry.spacing_mm[0], 4) if geometry.spacing_mm else None,
        contrast=contrast,
        taken=taken,
        reasons=("EXCLUDED",) if excluded else tuple(reasons) or geometry.reasons,
        warnings=tuple(sorted(set(warnings))),
    )


def _looked_up(files: list[str]) -> tuple[NiftiGeometry, NiftiSource]:
    if len(files) != 1:
        return NiftiGeometry(("NIFTI_TWICE" if files else "NIFTI_MISSING",)), NiftiSource("", 0, 0)
    status = Path(files[0]).stat()
    return geometry_of(files[0]), NiftiSource(files[0], status.st_size, status.st_mtime_ns)
