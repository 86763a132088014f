"""DICOM instances of one series, written from a template.

pydicom encodes the header once per series; the few values that differ between slices have a fixed width and are
exchanged in the encoded bytes. This is what brings a study of a hundred files down to milliseconds.
"""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, MRImageStorage

IMPLEMENTATION_UID = "2.25.187650512935462190872536410927463514201"
POSITION_WIDTH = 12  # characters of one decimal string


@dataclass(frozen=True)
class Series:
    """Everything that the instances of one series share. Positions are mm in the patient frame (LPS)."""

    header: dict[str, object]  # DICOM keyword -> value
    uid_seed: str  # text from which the series and instance UIDs follow
    pixel_spacing_mm: float
    orientation: tuple[float, ...]  # direction cosines of rows and columns
    positions: NDArray[np.float64]  # (N, 3) of the first voxel of each slice
    stored: NDArray[np.int16] | NDArray[np.uint16]  # (N, rows, columns)
    leave_out: tuple[str, ...] = field(default=())  # keywords removed at the end


def uid(seed: str) -> str:
    """A UID under 2.25 with a fixed length, the same for the same text."""
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:16], "big")
    return f"2.25.{number % (9 * 10**37) + 10**37}"


def encode_series(series: Series) -> list[bytes]:
    """The bytes of each instance, in slice order."""
    template, pixel_bytes = _template(series)
    head = template[: len(template) - pixel_bytes]
    gaps = {mark: _offsets(head, mark) for mark in _marks()}
    instances = []
    for index, (place, plane) in enumerate(zip(series.positions, series.stored, strict=True)):
        values = (
            uid(f"{series.uid_seed}|{index}"),
            f"{index + 1:>6d}",
            "\\".join(_decimal(v) for v in place),
            _decimal(place[2]),
        )
        body = bytearray(head)
        for offsets, value in zip(gaps.values(), values, strict=True):
            for offset in offsets:
                body[offset : offset + len(value)] = value.encode()
        instances.append(bytes(body) + np.ascontiguousarray(plane).tobytes())
    return instances


def write_instances(folder: Path, names: Sequence[str], instances: Sequence[bytes]) -> None:
    """Write each instance under its name into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, instance in zip(names, instances, strict=True):
        (folder / name).write_bytes(instance)


def _decimal(value: float) -> str:
    return f"{value:>{POSITION_WIDTH}.4f}"


def _marks() -> tuple[str, str, str, str]:
    """SOPInstanceUID, InstanceNumber, ImagePositionPatient, SliceLocation of the template, as wide as real ones."""
    seven = "7" * (POSITION_WIDTH - 1)
    return "2.25." + "9" * 38, "987654", f"1{seven}\\2{seven}\\3{seven}", f"4{seven}"


def _offsets(head: bytes, mark: str) -> list[int]:
    """Where a mark is the whole value of an element: a UID may contain the same digits."""
    width = len(mark) + len(mark) % 2
    value = mark.encode()
    found = []
    at = head.find(value)
    while at >= 0:
        if int.from_bytes(head[at - 2 : at], "little") == width:  # explicit VR: the length stands before the value
            found.append(at)
        at = head.find(value, at + 1)
    assert found
    return found


def _template(series: Series) -> tuple[bytes, int]:
    """Encoded file with marks instead of values, and the length of its pixel data at the end."""
    sop, number, position, location = _marks()
    rows, columns = series.stored.shape[1:]
    dataset = Dataset()
    for keyword, value in series.header.items():
        setattr(dataset, keyword, value)
    dataset.SOPClassUID = MRImageStorage if dataset.Modality == "MR" else CTImageStorage
    dataset.SOPInstanceUID = UID(sop)
    dataset.SeriesInstanceUID = uid(series.uid_seed)
    dataset.InstanceNumber = number
    dataset.ImagePositionPatient = position.split("\\")
    dataset.SliceLocation = location
    dataset.ImageOrientationPatient = [f"{v:.6f}" for v in series.orientation]
    dataset.PixelSpacing = [f"{series.pixel_spacing_mm:.6f}"] * 2
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = rows, columns
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = int(series.stored.dtype == np.int16)
    for keyword in series.leave_out:
        delattr(dataset, keyword)
    pixel_bytes = rows * columns * 2
    dataset.PixelData = bytes(pixel_bytes)
    dataset["PixelData"].VR = "OW"
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = UID(sop)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_UID)
    meta.ImplementationVersionName = "HYPERCT_PHANTOM"
    dataset.file_meta = meta
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue(), pixel_bytes
