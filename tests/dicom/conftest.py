"""A writer of small DICOM series with any fault, and the settings the cases are judged by."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import yaml
from numpy.typing import NDArray
from pydantic import TypeAdapter
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from hyperct_pipeline.dicom.conversion import ConvertConfig

PARAMETERS = Path(__file__).parents[2] / "conf" / "base" / "parameters_convert.yml"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)

WriteSeries = Callable[..., list[Path]]


@pytest.fixture
def config() -> ConvertConfig:
    """The shipped settings in one process, with minima that let small cases pass."""
    parameters = yaml.safe_load(PARAMETERS.read_text())["convert"]
    parameters |= {"min_slices": 3, "min_z_extent_mm": 5.0}
    return TypeAdapter(ConvertConfig).validate_python(parameters)


@pytest.fixture
def write_series(tmp_path: Path) -> WriteSeries:
    """Writes one file per image of a stack.

    hu: (Z, Y, X) stored in the order of `positions`; tags: over the defaults, None leaves one out;
    per_image: tags of single images by index.
    """

    def write(
        hu: NDArray[np.int16],
        folder: str = "series",
        positions: list[tuple[float, float, float]] | None = None,
        orientation: tuple[float, ...] = AXIAL,
        signed: bool = True,
        slope: float = 1.0,
        intercepts: list[float] | None = None,
        tags: dict[str, Any] | None = None,
        per_image: dict[int, dict[str, Any]] | None = None,
    ) -> list[Path]:
        root = tmp_path / "archive" / folder
        root.mkdir(parents=True, exist_ok=True)
        positions = positions or [(-20.0, -30.0, -100.0 + 2.5 * z) for z in range(len(hu))]
        intercepts = intercepts or [-1024.0] * len(hu)
        paths = []
        for index, image in enumerate(hu):
            file = _file(folder)
            file.ImagePositionPatient = list(positions[index])
            file.ImageOrientationPatient = list(orientation)
            file.Rows, file.Columns = image.shape
            file.RescaleSlope, file.RescaleIntercept = slope, intercepts[index]
            file.PixelRepresentation = int(signed)
            stored = np.rint((image - intercepts[index]) / slope)
            file.PixelData = stored.astype("<i2" if signed else "<u2").tobytes()
            for keyword, value in ((tags or {}) | (per_image or {}).get(index, {})).items():
                if value is None:
                    delattr(file, keyword)
                else:
                    setattr(file, keyword, value)
            paths.append(root / f"{index:03d}.dcm")
            file.save_as(paths[-1])
        return paths

    return write


def _file(name: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    file = pydicom.dataset.FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    file.StudyInstanceUID = generate_uid(entropy_srcs=["study"])
    file.SeriesInstanceUID = generate_uid(entropy_srcs=["series", name])
    file.PatientID, file.Modality, file.ImageType = "p1", "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    file.BodyPartExamined, file.ConvolutionKernel = "CHEST", "STANDARD"
    file.PixelSpacing, file.SliceThickness = [1.5, 0.75], 2.5  # rows are 1.5 mm apart, columns 0.75 mm
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit = 16, 16, 15
    return file
