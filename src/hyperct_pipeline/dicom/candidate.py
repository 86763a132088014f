"""One group of images on its way to be chosen: what speaks against it, and how it ranks."""

import dataclasses

import numpy as np

from hyperct_pipeline.dicom.decisions import Decisions
from hyperct_pipeline.dicom.gate import Stack, check_stack, distinct_distances_mm, has_geometry, slice_normal
from hyperct_pipeline.dicom.header import Header
from hyperct_pipeline.dicom.nifti_volume import NiftiSource
from hyperct_pipeline.dicom.selection_config import SelectionConfig
from hyperct_pipeline.dicom.series import SeriesGroup
from hyperct_pipeline.dicom.vocabulary import has_contrast, has_lung_kernel, is_localizer, is_other_body_part
from hyperct_pipeline.pseudonyms import Pseudonyms

# Cosine of the angle between slice normal and body axis up to which slices count as axial (37 degrees):
# tilted gantries pass on to the gate, which names them.
AXIAL_COSINE = 0.8
# Spacings that differ by less are equally good.
SPACING_STEP_MM = 0.25


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A group that was judged. Holds paths and identifiers."""

    group: SeriesGroup = dataclasses.field(repr=False)
    series_key: str
    source: Stack | NiftiSource = dataclasses.field(repr=False)
    n_slices: int
    spacing_mm: float | None  # between slices, median
    contrast: bool
    taken: bool  # a person decided for it
    reasons: tuple[str, ...]  # why it cannot be used, empty where it can
    warnings: tuple[str, ...]

    def rank(self, config: SelectionConfig) -> tuple[bool, float, bool, int, str]:
        """Small is better: no contrast, spacing near the target, soft kernel, more slices, then the key."""
        assert self.spacing_mm is not None, "only stacks that passed the gate are ranked"
        off_target = abs(self.spacing_mm - config.target_spacing_mm) // SPACING_STEP_MM
        lung = has_lung_kernel(self.group.headers[0], config.vocabulary)
        return self.contrast, off_target, lung, -self.n_slices, self.series_key

    def lost_to(self, winner: "Candidate", config: SelectionConfig) -> str:
        """The criterion of the ranking that decided against it."""
        if winner.taken and not self.taken:
            return "OVERRIDDEN"
        assert self.spacing_mm is not None and winner.spacing_mm is not None
        spacing = "THICK" if self.spacing_mm > winner.spacing_mm else "THIN"
        criteria = ("CONTRAST", spacing, "KERNEL_LUNG", "FEWER_SLICES", "NOT_CHOSEN")
        pairs = zip(criteria, self.rank(config), winner.rank(config), strict=True)
        return next(code for code, ours, theirs in pairs if ours != theirs)


def judged(group: SeriesGroup, pseudonyms: Pseudonyms, decisions: Decisions, config: SelectionConfig) -> Candidate:
    """Holds a group against the rules, the header gate and what a person decided."""
    series_key = pseudonyms.series_key(group.series_uid, group.number)
    study_key = pseudonyms.study_key(group.study_uid)
    excluded = decisions.excludes((group.study_uid, study_key, group.series_uid, series_key))
    taken = decisions.takes((group.series_uid, series_key))
    reasons = exclusion_reasons(group, config)
    stack = check_stack(group, config.gate)
    contrast = has_contrast(group.headers, config.vocabulary)
    warnings = [*stack.warnings, *(["CONTRAST"] if contrast and config.allow_contrast else [])]
    if not group.headers[0]["PatientID"].strip():
        warnings.append("MISSING_PATIENT_ID")
    if taken:  # a person may overrule the choice, never the geometry
        warnings += ["TAKEN_BY_PERSON", *reasons]
        reasons = []
    return Candidate(
        group=group,
        series_key=series_key,
        source=stack,
        n_slices=len(stack.headers),
        spacing_mm=_spacing_mm(group),
        contrast=contrast,
        taken=taken,
        # what a group is excluded for says more than how its stack looks
        reasons=("EXCLUDED",) if excluded else tuple(reasons) or stack.reasons,
        warnings=tuple(sorted(set(warnings))),
    )


def exclusion_reasons(group: SeriesGroup, config: SelectionConfig) -> list[str]:
    """Why a group can be no chest CT, whatever its pixels; empty where nothing speaks against it."""
    headers = group.headers
    reasons = content_reasons(headers, config)
    if not has_geometry(headers):
        return reasons if "MULTIFRAME" in reasons else [*reasons, "NO_GEOMETRY"]
    distances = distinct_distances_mm(headers)
    if abs(slice_normal(headers[0])[2]) < AXIAL_COSINE:
        reasons.append("NOT_AXIAL")
    extent_mm = float(np.ptp(distances) + np.median(np.diff(distances))) if len(distances) > 1 else 0.0
    return reasons + size_reasons(len(distances), extent_mm, config)


def content_reasons(headers: tuple[Header, ...], config: SelectionConfig) -> list[str]:
    """Why images cannot be a chest CT by what their headers say of them; one image is enough."""
    vocabulary = config.vocabulary
    derived = set(vocabulary.derived_image_types)
    rules = {
        "NOT_CT": any(header["Modality"].upper() != "CT" for header in headers),
        "LOCALIZER": is_localizer(headers, vocabulary),
        "DERIVED": any(derived.intersection(header.image_type) for header in headers),
        "MULTIFRAME": any(header.count("NumberOfFrames") > 1 for header in headers),
        "NOT_CHEST": is_other_body_part(headers, vocabulary),
        "CONTRAST": not config.allow_contrast and has_contrast(headers, vocabulary),
    }
    return [code for code, applies in rules.items() if applies]


def size_reasons(n_slices: int, extent_mm: float, config: SelectionConfig) -> list[str]:
    """Whether a stack is too small for a chest."""
    if n_slices < config.min_slices:
        return ["TOO_FEW_SLICES"]
    return ["SHORT_Z_EXTENT"] if extent_mm < config.min_z_extent_mm else []


def _spacing_mm(group: SeriesGroup) -> float | None:
    if not has_geometry(group.headers) or len(distances := distinct_distances_mm(group.headers)) < 2:
        return None
    return round(float(np.median(np.diff(distances))), 4)
