"""One NIfTI file of somebody else: what its header says, and its voxels as HU if they can be trusted.

Nothing about such a file is certain: orientation may be missing, values may lack their rescale, a compressed file may
be damaged where only its checksum tells.
"""

# mypy: allow-untyped-calls
# (nibabel ships without annotations)

import gzip
import hashlib
import io
import logging
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from hyperct_pipeline.dicom.codestream import DecodeError
from hyperct_pipeline.dicom.decoding import to_int16
from hyperct_pipeline.dicom.geometry import FARTHEST_POSITION_MM, PIXEL_SPACING_RANGE_MM
from hyperct_pipeline.dicom.pixel_format import INTERCEPT_RANGE, LARGEST_MATRIX, SLOPE_RANGE
from hyperct_pipeline.volumes.volume import Volume, orientation_of, to_ras

HEADER_BYTES = 352  # of NIfTI-1 with its magic and the flag of extensions
# A chest holds air and soft tissue: stored values without their rescale have no such range.
AIR_BELOW_HU, TISSUE_ABOVE_HU = -500, 0
_MAX_EXTENSION_BYTES = 1 << 20
_DAMAGED = (
    OSError,
    EOFError,
    ValueError,
    zlib.error,
    np.linalg.LinAlgError,
    nib.filebasedimages.ImageFileError,
    nib.spatialimages.HeaderDataError,
    nib.wrapstruct.WrapStructError,
)
# It describes what is wrong with a header by quoting it.
logging.getLogger("nibabel").setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class NiftiSource:
    """A NIfTI file to convert. Its name may identify someone: the text form shows nothing."""

    path: str = field(repr=False)
    size: int = field(repr=False)  # bytes
    modified_ns: int = field(repr=False)

    @property
    def state(self) -> list[tuple[str, int, int]]:
        """Changes when the file is rewritten."""
        return [(Path(self.path).name, self.size, self.modified_ns)]


@dataclass(frozen=True)
class NiftiGeometry:
    """Shape and place of a volume by its header, and why it cannot be used where there is a reason."""

    reasons: tuple[str, ...]
    shape_zyx: tuple[int, int, int] | None = None  # in RAS order
    spacing_mm: tuple[float, float, float] | None = None  # z, y, x


def geometry_of(path: str) -> NiftiGeometry:
    """Reads the header alone."""
    try:
        header = _header(path)
    except _DAMAGED:
        return NiftiGeometry(("NIFTI_UNREADABLE",))
    shape = tuple(int(size) for size in header.get_data_shape())
    if len(shape) != 3:
        return NiftiGeometry(("NOT_3D",))
    reasons = [] if header.get_data_dtype().kind in "iuf" else ["BAD_PIXEL_FORMAT"]
    if min(shape) < 1 or max(shape) > LARGEST_MATRIX:
        return NiftiGeometry((*reasons, "BAD_PIXEL_FORMAT"))
    affine = np.asarray(header.get_best_affine(), dtype=np.float64)
    if not (header["sform_code"] or header["qform_code"]) or not _is_placed(affine):
        return NiftiGeometry((*reasons, "NO_GEOMETRY"))
    order = nib.orientations.io_orientation(affine)[:, 0].astype(int)  # of each NIfTI axis, its RAS axis
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    x, y, z = (int(np.flatnonzero(order == axis)[0]) for axis in range(3))
    return NiftiGeometry(
        tuple(reasons), (shape[z], shape[y], shape[x]), (float(spacing[z]), float(spacing[y]), float(spacing[x]))
    )


def read_volume(source: NiftiSource) -> tuple[Volume, list[str], str]:
    """The volume in RAS, what is remarkable about it, and the digest of its file.

    Raises:
        DecodeError: it is damaged, or its values are no HU.
    """
    try:
        content = Path(source.path).read_bytes()
    except OSError:
        raise DecodeError("FILE_UNREADABLE") from None
    try:
        header = _header(source.path)
        values = _values(content, header)
    except _DAMAGED:
        raise DecodeError("NIFTI_UNREADABLE") from None
    hu = to_int16(_rescaled(values, header))
    if hu.min() > AIR_BELOW_HU or hu.max() < TISSUE_ABOVE_HU:
        raise DecodeError("HU_IMPLAUSIBLE")
    affine = np.asarray(header.get_best_affine(), dtype=np.float64)
    found = [] if orientation_of(affine) == "RAS" else ["ORIENTATION_NOT_RAS"]
    return to_ras(Volume(np.ascontiguousarray(hu.T), affine)), found, hashlib.sha256(content).hexdigest()


def _header(path: str) -> Any:
    with Path(path).open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        with gzip.open(file) if packed else file as stream:
            return nib.Nifti1Header(stream.read(HEADER_BYTES)[: nib.Nifti1Header.sizeof_hdr], check=True)


def _values(content: bytes, header: Any) -> NDArray[Any]:
    """Stored values, x first. The whole file is inflated, because its checksum stands at the end."""
    shape, dtype = header.get_data_shape(), header.get_data_dtype()
    offset = int(header["vox_offset"]) or HEADER_BYTES
    end = offset + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if not HEADER_BYTES <= offset <= _MAX_EXTENSION_BYTES:
        raise ValueError("voxels begin at an impossible place")
    if content[:2] == b"\x1f\x8b":
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
            content = stream.read(end + 1)
    if len(content) != end:
        raise ValueError("fewer or more voxels than the header says")
    return np.frombuffer(content, dtype, offset=offset).reshape(shape, order="F")


def _rescaled(values: NDArray[Any], header: Any) -> NDArray[Any]:
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or (np.isnan(slope) and np.isnan(intercept)):  # NIfTI's way of saying that there is none
        return values
    if not (SLOPE_RANGE[0] <= slope <= SLOPE_RANGE[1] and INTERCEPT_RANGE[0] <= intercept <= INTERCEPT_RANGE[1]):
        raise DecodeError("BAD_RESCALE")
    return values if (slope, intercept) == (1, 0) else values * np.float64(slope) + intercept


def _is_placed(affine: NDArray[np.float64]) -> bool:
    if not np.isfinite(affine).all() or np.abs(affine[:3, 3]).max() > FARTHEST_POSITION_MM:
        return False
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    low, high = PIXEL_SPACING_RANGE_MM
    if not (low <= spacing.min() and spacing.max() <= 2 * high):
        return False
    axes = affine[:3, :3] / spacing
    return bool(np.allclose(axes.T @ axes, np.eye(3), atol=1e-2))  # neither sheared nor flat
