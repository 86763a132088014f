"""Converts a chosen series into a volume that can be trusted, or says by a code why not.

SimpleITK decodes the explicitly sorted list; the affine comes from the headers alone. Then pydicom decodes the
first, middle and last slice on its own, and the corners of the finished volume are held against the headers.
Texts of third-party errors may hold paths and header values: only reason codes leave this module.
"""

# mypy: allow-untyped-calls
# (SimpleITK ships without annotations)

import dataclasses
import hashlib
import itertools
import json
import multiprocessing
import time
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from pydicom.pixels.decoders.base import get_decoder

from hyperct_pipeline.dicom.gate import stack_affine
from hyperct_pipeline.dicom.header import Header
from hyperct_pipeline.dicom.reasons import message_of
from hyperct_pipeline.dicom.selection import ChosenSeries, SelectionConfig
from hyperct_pipeline.errors import HyperctError
from hyperct_pipeline.volumes.volume import INT16, Volume, orientation_of, to_ras

# Part of the settings digest: raise it when the same input gives other voxels.
CONVERTER_VERSION = "1"
# Below this, starting processes costs more than it saves.
SERIES_WORTH_A_POOL = 4


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ConvertConfig(SelectionConfig):
    """The whole way from an archive to volumes."""

    n_workers: int = 1  # processes; 1 works in this process
    cross_check_tolerance_hu: float = 1.0  # largest difference between two decoders

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_workers < 1:
            raise ValueError(f"n_workers is {self.n_workers}; at least one process works")

    def digest(self) -> str:
        """Of all settings that may change a result."""
        settings = dataclasses.asdict(self)
        del settings["n_workers"]
        text = json.dumps([CONVERTER_VERSION, settings], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class DecodeError(HyperctError):
    """Pixels of a series cannot be had or trusted; the text is a reason code."""


@dataclasses.dataclass(frozen=True)
class Conversion:
    """One converted or refused study: a row for the manifest, and the volume where there is one."""

    row: dict[str, Any]
    volume: Volume | None


def convert_all(chosen: Sequence[ChosenSeries], config: ConvertConfig) -> Iterator[Conversion]:
    """Converts series in their order, a few ahead in other processes."""
    if config.n_workers == 1 or len(chosen) < SERIES_WORTH_A_POOL:
        yield from (convert_series(series, config) for series in chosen)
        return
    # spawn: a fork would copy locks held by the threads of the numerical libraries
    with ProcessPoolExecutor(config.n_workers, multiprocessing.get_context("spawn")) as pool:
        waiting: deque[Future[Conversion]] = deque()
        for series in chosen:
            waiting.append(pool.submit(convert_series, series, config))
            if len(waiting) > 2 * config.n_workers:  # bounds the volumes held in memory
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def is_done(series: ChosenSeries, row: dict[str, Any] | None, config: ConvertConfig) -> bool:
    """Whether a row on disk came from the same files and settings and need not be made again."""
    return (
        row is not None
        and row["status"] == "converted"
        and row["input_digest"] == input_digest(series)
        and row["settings_digest"] == config.digest()
    )


def input_digest(series: ChosenSeries) -> str:
    """Changes when a file of the series is added, removed or rewritten; needs no reading of pixels."""
    state = [(header["SOPInstanceUID"], header.size, header.modified_ns) for header in series.headers]
    text = json.dumps([series.series_key, state, series.warnings])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def convert_series(series: ChosenSeries, config: ConvertConfig) -> Conversion:
    """One study: a volume in RAS, or a failed row with its reason. Raises only on faults of ours."""
    start = time.perf_counter()
    row: dict[str, Any] = {
        "study_key": series.study_key,
        "series_key": series.series_key,
        "status": "converted",
        "reason_codes": "",
        "message": "",
        "converter": f"SimpleITK, header gate {CONVERTER_VERSION}",
        "input_digest": input_digest(series),
        "settings_digest": config.digest(),
    }
    found = list(series.warnings)
    volume = None
    try:
        row["input_sha256"] = _sha256_of_files(series.headers)
        hu, affine = _decode(series.headers), stack_affine(series.headers)
        if not _cross_check(series.headers, hu, config.cross_check_tolerance_hu):
            found.append("CROSS_CHECK_SKIPPED")
        if orientation_of(affine) != "LPS":
            found.append("ORIENTATION_NOT_LPS")
        volume = to_ras(Volume(hu, affine))
        _check_corners(volume, series.headers, config.gate.max_corner_error_mm)
        row |= _facts(volume, series.study_key)
    except DecodeError as error:
        volume = None
        row |= {"status": "failed", "reason_codes": str(error), "message": message_of([str(error)])}
    row["warnings"] = ";".join(sorted(found))
    row["seconds"] = round(time.perf_counter() - start, 3)
    return Conversion(row, volume)


def _facts(volume: Volume, study_key: str) -> dict[str, Any]:
    hu = np.ascontiguousarray(volume.hu)
    content = hashlib.sha256(hu.tobytes() + volume.affine.tobytes() + str(hu.shape).encode())
    return {
        "nifti": f"{study_key}.nii.gz",
        "shape": ";".join(map(str, hu.shape)),  # z, y, x
        "spacing_mm": ";".join(f"{value:.5g}" for value in volume.spacing_mm),  # z, y, x
        "orientation": orientation_of(volume.affine),
        "hu_min": int(hu.min()),
        "hu_max": int(hu.max()),
        "output_sha256": content.hexdigest(),  # of voxels and affine, so that it is the same at any gzip level
    }


def _sha256_of_files(headers: tuple[Header, ...]) -> str:
    digest = hashlib.sha256()
    try:
        for header in headers:
            digest.update(Path(header.path).read_bytes())
    except OSError:
        raise DecodeError("FILE_UNREADABLE") from None
    return digest.hexdigest()


def _decode(headers: tuple[Header, ...]) -> NDArray[np.int16]:
    """(Z, Y, X) HU in the order of the headers."""
    import SimpleITK as sitk  # noqa: N813

    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # prints header values
    paths = [header.path for header in headers]
    rescales = {(header.number("RescaleSlope"), header.number("RescaleIntercept")) for header in headers}
    try:
        if len(rescales) == 1:
            reader = sitk.ImageSeriesReader()
            reader.SetFileNames(paths)
            values = sitk.GetArrayFromImage(reader.Execute())
        else:
            # the series reader takes its voxel type from the first file, which may be too narrow for the others
            values = np.concatenate([sitk.GetArrayFromImage(sitk.ReadImage(path)) for path in paths])
    except (RuntimeError, ValueError, TypeError):  # what SimpleITK raises; not every path can be passed to C++
        raise DecodeError("DECODE_FAILED") from None
    shape = (len(headers), headers[0].count("Rows"), headers[0].count("Columns"))
    if values.shape != shape:
        raise DecodeError("DECODE_FAILED")
    return _to_int16(values)


def _to_int16(values: NDArray[Any]) -> NDArray[np.int16]:
    if not INT16.min <= values.min() <= values.max() <= INT16.max:  # also where a value is not a number
        raise DecodeError("HU_OUT_OF_RANGE")
    whole = values if np.issubdtype(values.dtype, np.integer) else np.rint(values)
    return whole.astype(np.int16)


def _cross_check(headers: tuple[Header, ...], hu: NDArray[np.int16], tolerance_hu: float) -> bool:
    """Whether pydicom could decode the first, middle and last slice too.

    Raises:
        DecodeError: it could, and found other values.
    """
    for index in sorted({0, len(headers) // 2, len(headers) - 1}):
        header = headers[index]
        if not get_decoder(header.transfer_syntax).is_available:
            return False
        stored = _decode_with_pydicom(header)
        slope, intercept = header.numbers["RescaleSlope"][0], header.numbers["RescaleIntercept"][0]
        if stored.shape != hu[index].shape:
            raise DecodeError("CROSS_CHECK_FAILED")
        if np.abs(stored * slope + intercept - hu[index]).max() > tolerance_hu:
            raise DecodeError("CROSS_CHECK_FAILED")
    return True


def _decode_with_pydicom(header: Header) -> NDArray[np.float64]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote header values
            return np.asarray(pydicom.dcmread(header.path).pixel_array, dtype=np.float64)
    except Exception:  # noqa: BLE001 - plugins raise anything; it becomes a row with a reason
        raise DecodeError("DECODE_FAILED") from None


def _check_corners(volume: Volume, headers: tuple[Header, ...], tolerance_mm: float) -> None:
    """Every corner that the first and last header name must be a corner of the volume, wherever its axes run."""
    ends = [np.array([0, size - 1]) for size in volume.hu.shape[::-1]]
    indices = np.array(list(itertools.product(*ends)))
    found = indices @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    for header in (headers[0], headers[-1]):
        distances = np.linalg.norm(_image_corners(header)[:, None] - found[None], axis=2)
        if distances.min(axis=1).max() > tolerance_mm:
            raise DecodeError("GEOMETRY_MISMATCH")


def _image_corners(header: Header) -> NDArray[np.float64]:
    """(4, 3) RAS mm, straight from the definition in DICOM PS3.3 C.7.6.2.1.1."""
    position = np.array(header.numbers["ImagePositionPatient"])
    along_row, along_column = np.array(header.numbers["ImageOrientationPatient"]).reshape(2, 3)
    row_distance, column_distance = header.numbers["PixelSpacing"]
    right = along_row * column_distance * (header.count("Columns") - 1)
    down = along_column * row_distance * (header.count("Rows") - 1)
    corners_lps = np.array([position, position + right, position + down, position + right + down])
    return np.asarray(corners_lps * (-1.0, -1.0, 1.0))  # LPS -> RAS
