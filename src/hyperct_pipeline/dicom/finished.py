"""Which conversions of earlier runs still stand: same files, same settings, and the volume is whole."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hyperct_pipeline.dicom.conversion import ConvertConfig
from hyperct_pipeline.dicom.selection import ChosenSeries

# What the same files and settings would end in again; other failures may have had their cause in the machine.
LASTING_FAILURES = frozenset(
    {
        "DECODE_FAILED",
        "CROSS_CHECK_FAILED",
        "HU_OUT_OF_RANGE",
        "HU_IMPLAUSIBLE",
        "BAD_RESCALE",
        "NIFTI_UNREADABLE",
        "GEOMETRY_MISMATCH",
        "TRUNCATED_FILE",
        "CODESTREAM_MISMATCH",
        "SOP_CONFLICT",
    }
)


def is_done(series: ChosenSeries, row: Mapping[str, Any] | None, folder: Path, config: ConvertConfig) -> bool:
    """Whether a row on disk need not be made again."""
    if row is None or row["input_digest"] != series.input_digest or row["settings_digest"] != config.digest():
        return False
    if row["status"] == "failed":
        return row["reason_codes"] in LASTING_FAILURES
    return is_intact(folder / str(row["nifti"]), row)


def is_intact(nifti: Path, row: Mapping[str, Any]) -> bool:
    """Whether a volume is the one its row was written for.

    A file that was not touched since is believed by its size; any other is read and its digest compared, so that an
    archive that was copied is not converted again.
    """
    if not nifti.is_file():
        return False
    status = nifti.stat()
    if status.st_size != row["output_bytes"]:
        return False
    if status.st_mtime_ns == row["nifti_modified_ns"]:
        return True
    return hashlib.sha256(nifti.read_bytes()).hexdigest() == str(row["output_sha256"])
