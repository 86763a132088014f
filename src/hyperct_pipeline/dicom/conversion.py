"""Converts a chosen series into a volume that can be trusted and writes it, or says by a code why not.

The affine comes from the headers alone, the voxels from SimpleITK, and pydicom checks both. A study process writes
the volume itself and hands back only its row.
"""

import dataclasses
import hashlib
import json
import logging
import time
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from hyperct_pipeline import __version__
from hyperct_pipeline.atomic_file import remove_abandoned
from hyperct_pipeline.dicom.archive import is_mounted
from hyperct_pipeline.dicom.codestream import DecodeError
from hyperct_pipeline.dicom.cross_check import cross_check
from hyperct_pipeline.dicom.decoding import checked_digest, decode
from hyperct_pipeline.dicom.gate import Stack, stack_affine
from hyperct_pipeline.dicom.nifti_cohort import NiftiCohortConfig
from hyperct_pipeline.dicom.nifti_volume import read_volume
from hyperct_pipeline.dicom.reasons import message_of
from hyperct_pipeline.dicom.selection import ChosenSeries, SelectionConfig
from hyperct_pipeline.errors import ArchiveError, UnwritableError
from hyperct_pipeline.study_workers import ONE_AT_A_TIME, Failure, WorkersConfig, run_studies
from hyperct_pipeline.volumes.nifti_file import FASTEST_LEVEL, SMALLEST_LEVEL, Written, write_nifti
from hyperct_pipeline.volumes.volume import Volume, orientation_of, to_ras

logger = logging.getLogger(__name__)

# Part of the settings digest: raise it when the same input gives other voxels.
CONVERTER_VERSION = "3"
_WARM_MODULES = ("SimpleITK", "imagecodecs", "pydicom.pixels.decoders", "scipy.linalg")

Row = dict[str, Any]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ConvertConfig(SelectionConfig):
    """The whole way from an archive to volumes.

    Raises:
        ValueError: a tolerance or level that cannot be.
    """

    cross_check_tolerance_hu: float = 1.0  # largest difference between two decoders
    gzip_level: int = 3  # 1 (fast) to 9 (small)
    nifti: NiftiCohortConfig = Field(default_factory=NiftiCohortConfig)  # where a NIfTI table is given

    def __post_init__(self) -> None:
        SelectionConfig.__post_init__(self)
        if not self.cross_check_tolerance_hu >= 0:
            raise ValueError("cross_check_tolerance_hu must not be negative")
        if not FASTEST_LEVEL <= self.gzip_level <= SMALLEST_LEVEL:
            raise ValueError(f"gzip_level is {self.gzip_level}; {FASTEST_LEVEL} to {SMALLEST_LEVEL} are possible")

    def digest(self) -> str:
        """Of all settings that may change a result."""
        text = json.dumps([CONVERTER_VERSION, dataclasses.asdict(self)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def convert_all(
    chosen: Sequence[ChosenSeries],
    archive: Path,
    folder: Path,
    config: ConvertConfig,
    workers: WorkersConfig = ONE_AT_A_TIME,
) -> Iterator[tuple[str, Row]]:
    """Key and row of every series, as they finish; volumes are written to `folder`.

    Raises:
        ArchiveError: the archive went away meanwhile.
        UnwritableError: volumes cannot be written.
    """
    remove_abandoned(folder, workers.time_limit_s)
    work = partial(convert_series, folder=folder, config=config)
    for series, outcome in run_studies(work, chosen, workers, _WARM_MODULES):
        if not isinstance(outcome, Failure):
            row = outcome
        else:
            logger.error("Study %s: %s %s", series.key, outcome.code, outcome.detail)
            row = base_row(series, config) | _failed(outcome.code)
        if row["reason_codes"] == "FILE_UNREADABLE" and not is_mounted(archive):
            raise ArchiveError(
                "The DICOM archive can no longer be read: is the share still mounted? "
                "Finished studies are kept; run again to go on."
            )
        if row["reason_codes"] == UnwritableError.CODE:
            raise UnwritableError("volumes")
        yield series.key, row


def convert_series(series: ChosenSeries, folder: Path, config: ConvertConfig) -> Row:
    """Writes `<key>.nii.gz` in RAS and returns its row, or returns a failed row with its reason."""
    start = time.perf_counter()
    row = base_row(series, config)
    file = folder / f"{series.key}.nii.gz"
    try:
        file.unlink(missing_ok=True)  # one of other settings or files must not outlive a failure
        source = series.source
        volume, found, digest = read_stack(source, config) if isinstance(source, Stack) else read_volume(source)
        written = write_nifti(volume, file, config.gzip_level)
        row |= _facts(volume, file, written) | {"input_sha256": digest, "status": "converted"}
        row["warnings"] = ";".join(sorted({*series.warnings, *found}))
    except DecodeError as error:
        row |= _failed(str(error))
    except OSError:  # reading has its own reasons, so this is the disk that is written to
        row |= _failed(UnwritableError.CODE)
    row["seconds"] = round(time.perf_counter() - start, 3)
    return row


def read_stack(stack: Stack, config: ConvertConfig) -> tuple[Volume, list[str], str]:
    """The volume of a stack in RAS, what is remarkable about it, and the digest of its files.

    Raises:
        DecodeError: it cannot be had or not be trusted.
    """
    found = []
    digest = checked_digest(stack)
    hu = _filled(decode(stack.headers), stack.slots)
    affine = stack_affine(stack.headers, stack.n_slices)
    if orientation_of(affine) != "LPS":
        found.append("ORIENTATION_NOT_LPS")
    volume = to_ras(Volume(hu, affine))
    if not cross_check(volume, stack.headers, config.cross_check_tolerance_hu, config.gate.max_corner_error_mm):
        found.append("CROSS_CHECK_SKIPPED")
    return volume, found, digest


def base_row(series: ChosenSeries, config: ConvertConfig) -> Row:
    """What a row holds whatever becomes of its series."""
    return {
        "study_key": series.key,
        "series_key": series.series_key,
        "reason_codes": "",
        "message": "",
        "warnings": ";".join(series.warnings),
        "converter": f"hyperct_pipeline {__version__}, SimpleITK {version('simpleitk')}, "
        f"pydicom {version('pydicom')}, gate {CONVERTER_VERSION}",
        "input_digest": series.input_digest,
        "settings_digest": config.digest(),
        "seconds": None,
    }


def _failed(code: str) -> Row:
    return {"status": "failed", "reason_codes": code, "message": message_of([code])}


def _filled(hu: NDArray[np.int16], slots: tuple[int, ...]) -> NDArray[np.int16]:
    """The regular grid: images at their slots, missing ones on the line between their neighbours."""
    if len(slots) == slots[-1] + 1:
        return hu
    grid = np.empty((slots[-1] + 1, *hu.shape[1:]), np.int16)
    for (below, here), (above, there) in pairwise(zip(slots, hu, strict=True)):
        for slot in range(below, above):
            share = (slot - below) / (above - below)
            grid[slot] = np.rint((1 - share) * here + share * there)
    grid[-1] = hu[-1]
    return grid


def _facts(volume: Volume, file: Path, written: Written) -> Row:
    return {
        "nifti": file.name,
        "shape": ";".join(map(str, volume.hu.shape)),  # z, y, x
        "spacing_mm": ";".join(f"{value:.5g}" for value in volume.spacing_mm),  # z, y, x
        "orientation": orientation_of(volume.affine),
        "hu_min": int(volume.hu.min()),
        "hu_max": int(volume.hu.max()),
        "output_bytes": written.size,
        "output_sha256": written.sha256,
        "content_sha256": volume.digest(),
        "nifti_modified_ns": file.stat().st_mtime_ns,
    }
