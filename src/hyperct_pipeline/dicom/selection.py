"""Which series of a study is the chest CT, and why not the others.

First hard exclusions with a reason code each, then the header gate, then a ranking: no contrast, spacing near the
target, soft kernel before lung kernel, more slices, and the series key so that a tie always falls the same way.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pandas as pd
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from hyperct_pipeline.dicom import deidentification as keep
from hyperct_pipeline.dicom.gate import (
    GateConfig,
    Stack,
    check_stack,
    distinct_distances_mm,
    has_geometry,
    slice_normal,
)
from hyperct_pipeline.dicom.header import Header
from hyperct_pipeline.dicom.series import SeriesGroup
from hyperct_pipeline.dicom.vocabulary import (
    Vocabulary,
    contains_word,
    has_contrast,
    has_lung_kernel,
    is_other_body_part,
)
from hyperct_pipeline.pseudonyms import Pseudonyms

# Cosine of the angle between slice normal and body axis up to which slices count as axial (37 degrees):
# tilted gantries pass on to the gate, which names them.
AXIAL_COSINE = 0.8
# Spacings that differ by less are equally good.
SPACING_STEP_MM = 0.25


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SelectionConfig:
    """Which series may be chosen, and which is preferred."""

    vocabulary: Vocabulary
    allowed_values: keep.AllowedValues
    gate: GateConfig = Field(default_factory=GateConfig)
    min_slices: int = 30
    min_z_extent_mm: float = 150.0  # first to last slice, plus one slice
    target_spacing_mm: float = 1.0  # between slices; the series nearest to it is preferred
    allow_contrast: bool = False  # True: contrast is a warning instead of a refusal

    def __post_init__(self) -> None:
        if self.min_slices < 2:
            raise ValueError(f"min_slices is {self.min_slices}; a volume has at least 2")


@dataclasses.dataclass(frozen=True)
class ChosenSeries:
    """The one series of a study to convert, its images sorted. Holds paths: its text form shows none."""

    study_key: str
    series_key: str
    headers: tuple[Header, ...] = dataclasses.field(repr=False)
    warnings: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _Candidate:
    group: SeriesGroup
    series_key: str
    stack: Stack
    spacing_mm: float | None
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]

    def rank(self, config: SelectionConfig) -> tuple[bool, float, bool, int, str]:
        """Small is better."""
        assert self.spacing_mm is not None, "only stacks that passed the gate are ranked"
        off_target = abs(self.spacing_mm - config.target_spacing_mm) // SPACING_STEP_MM
        lung = has_lung_kernel(self.stack.headers[0], config.vocabulary)
        return "CONTRAST" in self.warnings, off_target, lung, -len(self.stack.headers), self.series_key


def select_series(
    groups: Sequence[SeriesGroup], pseudonyms: Pseudonyms, config: SelectionConfig
) -> tuple[pd.DataFrame, list[ChosenSeries]]:
    """Judges every group.

    Returns:
        The series index, one row per group, and the chosen series, at most one per study; both sorted by key.
    """
    studies: dict[str, list[SeriesGroup]] = defaultdict(list)
    for group in groups:
        studies[group.study_uid].append(group)
    rows, chosen = [], []
    for study_uid, members in studies.items():
        study_key = pseudonyms.study_key(study_uid)
        candidates = [_candidate(group, pseudonyms, config) for group in members]
        usable = [candidate for candidate in candidates if not candidate.reasons]
        best = min(usable, key=lambda candidate: candidate.rank(config), default=None)
        if best:
            chosen.append(ChosenSeries(study_key, best.series_key, best.stack.headers, best.warnings))
        for candidate in candidates:
            rows.append(_index_row(study_key, candidate, best, pseudonyms, config))
    index = pd.DataFrame(rows).astype(INDEX_TYPES)[list(INDEX_TYPES)]
    index = index.sort_values(["study_key", "series_key"], ignore_index=True)
    return index, sorted(chosen, key=lambda series: series.study_key)


# Lists are text joined by ";". day, sex, age_years: of the patient at the study.
INDEX_TYPES = {
    "study_key": "string",
    "series_key": "string",
    "patient_key": "string",
    "accession_key": "string",
    "day": "Int64",
    "sex": "string",
    "age_years": "Float64",
    "status": "string",  # selected / not_selected / refused
    "reason_codes": "string",
    "problems": "string",
    "n_instances": "Int64",
    "n_positions": "Int64",
    "modality": "string",
    "image_type": "string",
    "rows": "Int64",
    "columns": "Int64",
    "spacing_mm": "Float64",  # between slices, median
    "slice_thickness_mm": "Float64",
    "scanner": "string",
    "kernel": "string",
    "kvp": "Float64",
    "contrast": "boolean",
    "transfer_syntax": "string",
}


def exclusion_reasons(group: SeriesGroup, config: SelectionConfig) -> list[str]:
    """Why a group can be no chest CT, whatever its pixels; empty where nothing speaks against it."""
    header, vocabulary = group.headers[0], config.vocabulary
    series_text = header["SeriesDescription"]
    rules = {
        "NOT_CT": header["Modality"].upper() != "CT",
        "LOCALIZER": header.is_localizer or contains_word(series_text, vocabulary.localizer_words),
        "DERIVED": bool(set(header.image_type) & set(vocabulary.derived_image_types)),
        "MULTIFRAME": header.count("NumberOfFrames") > 1,
        "NOT_CHEST": is_other_body_part(header, vocabulary),
        "CONTRAST": has_contrast(header, vocabulary) and not config.allow_contrast,
    }
    reasons = [code for code, applies in rules.items() if applies]
    if not has_geometry(group.headers):
        return reasons if "MULTIFRAME" in reasons else [*reasons, "NO_GEOMETRY"]
    distances = distinct_distances_mm(group.headers)
    if abs(slice_normal(header)[2]) < AXIAL_COSINE:
        reasons.append("NOT_AXIAL")
    if len(distances) < config.min_slices:
        reasons.append("TOO_FEW_SLICES")
    elif np.ptp(distances) + np.median(np.diff(distances)) < config.min_z_extent_mm:
        reasons.append("SHORT_Z_EXTENT")
    return reasons


def _candidate(group: SeriesGroup, pseudonyms: Pseudonyms, config: SelectionConfig) -> _Candidate:
    reasons = exclusion_reasons(group, config)
    stack = check_stack(group, config.gate)
    warnings = list(stack.warnings)
    if config.allow_contrast and has_contrast(group.headers[0], config.vocabulary):
        warnings.append("CONTRAST")
    if not group.headers[0]["PatientID"].strip():
        warnings.append("MISSING_PATIENT_ID")
    spacing = None
    if has_geometry(group.headers) and len(distances := distinct_distances_mm(group.headers)) > 1:
        spacing = round(float(np.median(np.diff(distances))), 4)
    return _Candidate(
        group=group,
        series_key=pseudonyms.series_key(group.series_uid, group.number),
        stack=stack,
        spacing_mm=spacing,
        # what a group is excluded for says more than how its stack looks
        reasons=tuple(reasons) or stack.reasons,
        warnings=tuple(sorted(warnings)),
    )


def _lost_by(loser: _Candidate, winner: _Candidate, config: SelectionConfig) -> str:
    """The criterion of the ranking that decided."""
    ours, theirs = loser.rank(config), winner.rank(config)
    assert loser.spacing_mm is not None and winner.spacing_mm is not None
    spacing = "THICK" if loser.spacing_mm > winner.spacing_mm else "THIN"
    criteria = ("CONTRAST", spacing, "KERNEL_LUNG", "FEWER_SLICES", "NOT_CHOSEN")
    return next(code for code, a, b in zip(criteria, ours, theirs, strict=True) if a != b)


def _index_row(
    study_key: str,
    candidate: _Candidate,
    best: _Candidate | None,
    pseudonyms: Pseudonyms,
    config: SelectionConfig,
) -> dict[str, object]:
    header, allowed = candidate.group.headers[0], config.allowed_values
    if candidate.reasons or best is None:
        status, reasons = "refused", list(candidate.reasons)
    elif candidate is best:
        status, reasons = "selected", []
    else:
        status, reasons = "not_selected", [_lost_by(candidate, best, config)]
    geometry = has_geometry(candidate.group.headers)
    person = keep.person_of(header, candidate.group.study_uid, pseudonyms)
    return {
        "study_key": study_key,
        "series_key": candidate.series_key,
        **dataclasses.asdict(person),
        "status": status,
        "reason_codes": ";".join(reasons),
        "problems": ";".join(candidate.warnings),
        "n_instances": len(candidate.group.headers),
        "n_positions": len(distinct_distances_mm(candidate.group.headers)) if geometry else None,
        "modality": keep.modality_of(header, allowed),
        "image_type": keep.image_type_of(header, allowed),
        "rows": header.count("Rows") or None,
        "columns": header.count("Columns") or None,
        "spacing_mm": candidate.spacing_mm,
        "slice_thickness_mm": header.number("SliceThickness"),
        "scanner": keep.scanner_of(header, allowed),
        "kernel": keep.kernel_of(header, allowed),
        "kvp": header.number("KVP"),
        "contrast": has_contrast(header, config.vocabulary),
        "transfer_syntax": keep.transfer_syntax_of(header),
    }
