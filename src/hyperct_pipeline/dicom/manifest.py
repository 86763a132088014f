"""The conversion manifest: one row per study of the archive, converted or not, and why."""

import logging
from collections.abc import Mapping
from typing import Any

import pandas as pd

from hyperct_pipeline.dicom.reasons import message_of

logger = logging.getLogger(__name__)

# Lists are text joined by ";". shape and spacing_mm are (z, y, x). Missing is null, never a stand-in value.
MANIFEST_TYPES = {
    "study_key": "string",
    "patient_key": "string",
    "accession_key": "string",
    "series_key": "string",  # null where no series could be used
    "day": "Int64",
    "sex": "string",
    "age_years": "Float64",
    "scanner": "string",
    "kernel": "string",
    "slice_thickness_mm": "Float64",
    "status": "string",  # converted / refused / failed
    "reason_codes": "string",
    "warnings": "string",
    "message": "string",
    "nifti": "string",
    "shape": "string",
    "spacing_mm": "string",
    "orientation": "string",
    "hu_min": "Int64",
    "hu_max": "Int64",
    "converter": "string",  # versions of what read and checked it
    "settings_digest": "string",
    "input_sha256": "string",  # over the DICOM files in their order in the volume
    "output_bytes": "Int64",
    "output_sha256": "string",  # of the NIfTI file
    "content_sha256": "string",  # of voxels, affine and shape: the same at any gzip level
}
# The first columns stand in the series index, the rest comes from the conversion.
_FROM_INDEX = list(MANIFEST_TYPES)[: list(MANIFEST_TYPES).index("status")]


def conversion_manifest(series_index: pd.DataFrame, rows: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """One row per study of the index, sorted by study_key.

    Where every usable series is kept, the further ones of a study follow as `<study_key>_<series_key>`.

    Args:
        series_index: of this archive, as `select_series` makes it.
        rows: by volume, of every conversion on disk; those of studies no longer indexed are left out.

    Raises:
        KeyError: a series was selected but never converted.
    """
    studies = []
    for _, series in series_index.groupby("study_key", sort=True):
        selected = series[series["status"] == "selected"]
        for _, chosen in selected.iterrows():
            studies.append(dict(chosen[_FROM_INDEX]) | dict(rows[chosen["volume"]]))
        if selected.empty:
            studies.append(_refused(series))
    manifest = pd.DataFrame(studies, columns=list(MANIFEST_TYPES)).astype(MANIFEST_TYPES)
    manifest = manifest.sort_values("study_key", ignore_index=True)
    _log_balance(series_index, manifest)
    return manifest


def _log_balance(series_index: pd.DataFrame, manifest: pd.DataFrame) -> None:
    """Say what became of every series group and every study."""
    groups, volumes = series_index["status"].value_counts(), manifest["status"].value_counts()
    converted, failed = int(volumes.get("converted", 0)), int(volumes.get("failed", 0))
    refused, passed_over = int(groups.get("refused", 0)), int(groups.get("not_selected", 0))
    assert len(series_index) == converted + failed + refused + passed_over, "a series group is unaccounted for"
    logger.info(
        "Series groups: %d found = %d converted + %d refused + %d failed + %d not selected",
        len(series_index), converted, refused, failed, passed_over,
    )  # fmt: skip
    logger.info("Studies: %s", volumes.to_dict())


def conversion_timings(rows: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Seconds per converted study; apart from the manifest, so that the manifest is the same in every run."""
    timings = [{"study_key": key, "seconds": row["seconds"]} for key, row in sorted(rows.items())]
    types = {"study_key": "string", "seconds": "Float64"}
    return pd.DataFrame(timings, columns=list(types)).astype(types)


def _refused(series: pd.DataFrame) -> dict[str, Any]:
    """A study without a usable series; the reasons of its longest series come first."""
    by_length = series.sort_values(["n_instances", "series_key"], ascending=[False, True])
    codes = [code for text in by_length["reason_codes"] for code in text.split(";")]
    reasons = list(dict.fromkeys(["NO_USABLE_SERIES", *codes]))
    return dict(by_length.iloc[0][_FROM_INDEX]) | {
        "series_key": None,
        "status": "refused",
        "reason_codes": ";".join(reasons),
        "warnings": "",
        "message": message_of(reasons),
    }
