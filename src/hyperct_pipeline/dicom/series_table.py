"""The series index: one row per group of images found, with what may be kept of it and what became of it."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import pandas as pd

from hyperct_pipeline.dicom import deidentification as keep
from hyperct_pipeline.dicom.candidate import Candidate
from hyperct_pipeline.dicom.gate import distinct_distances_mm, has_geometry
from hyperct_pipeline.dicom.index import LostFolder
from hyperct_pipeline.dicom.selection_config import SelectionConfig
from hyperct_pipeline.pseudonyms import Pseudonyms

SLICE_THICKNESS_RANGE_MM = (0.1, 50.0)
KVP_RANGE = (40.0, 200.0)

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
    "volume": "string",  # key of the volume it is converted to, null unless selected
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


def series_table(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """The table of rows, sorted by keys."""
    table = pd.DataFrame(rows, columns=list(INDEX_TYPES)).astype(INDEX_TYPES)
    return table.sort_values(["study_key", "series_key"], ignore_index=True)


def series_row(
    study_key: str,
    candidate: Candidate,
    best: Candidate | None,
    volume: str | None,
    pseudonyms: Pseudonyms,
    config: SelectionConfig,
) -> dict[str, Any]:
    """Row of one group; `volume` is given where it is converted."""
    if volume is not None:
        status, reasons = "selected", []
    elif candidate.reasons:
        status, reasons = "refused", list(candidate.reasons)
    elif best is None:  # a person decided for a series that the gate refuses
        status, reasons = "not_selected", ["OVERRIDDEN"]
    else:
        status, reasons = "not_selected", [candidate.lost_to(best, config)]
    person = keep.person_of(candidate.group.headers[0], candidate.group.study_uid, pseudonyms)
    return {
        "study_key": study_key,
        "series_key": candidate.series_key,
        **dataclasses.asdict(person),
        "status": status,
        "reason_codes": ";".join(reasons),
        "problems": ";".join(candidate.warnings),
        "volume": volume,
        "contrast": candidate.contrast,
        "spacing_mm": candidate.spacing_mm,
        **_acquisition(candidate, config.allowed_values),
    }


def lost_row(folder: LostFolder, pseudonyms: Pseudonyms) -> dict[str, Any]:
    """Row of a folder whose images cannot be known, as a refused study of an unknown patient."""
    name = f"folder {folder.name}"
    return {
        "study_key": pseudonyms.study_key(name),
        "series_key": pseudonyms.series_key(name, 0),
        "patient_key": pseudonyms.patient_key(name),
        "status": "refused",
        "reason_codes": folder.reason,
        "problems": "",
    }


def _acquisition(candidate: Candidate, allowed: keep.AllowedValues) -> dict[str, Any]:
    headers = candidate.group.headers
    first = headers[0]
    return {
        "n_instances": len(headers),
        "n_positions": len(distinct_distances_mm(headers)) if has_geometry(headers) else None,
        "modality": keep.modality_of(first, allowed),
        "image_type": keep.image_type_of(first, allowed),
        "rows": first.count("Rows") or None,
        "columns": first.count("Columns") or None,
        "slice_thickness_mm": keep.plausible(first.number("SliceThickness"), SLICE_THICKNESS_RANGE_MM),
        "scanner": keep.scanner_of(first, allowed),
        "kernel": keep.kernel_of(first, allowed),
        "kvp": keep.plausible(first.number("KVP"), KVP_RANGE),
        "transfer_syntax": keep.transfer_syntax_of(first),
    }
