"""Time of ingesting one uncompressed series of 300 slices of 512 x 512, beside bare `dcm2niix -z i -3`, and then of
preprocessing it to the published grid of 164 x 164 x 164.

Ours: index, selection, header gate, conversion in a warm study process, cross-check, digests, atomic write.
    python benchmarks/ingest.py [repetitions]
The series is synthesised in a temporary folder. dcm2niix is taken from the PATH (pip install dcm2niix).
"""

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import yaml
from pydantic import TypeAdapter
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from hyperct_pipeline.dicom.conversion import ConvertConfig, convert_all
from hyperct_pipeline.dicom.index import index_series
from hyperct_pipeline.dicom.selection import ChosenSeries, select_series
from hyperct_pipeline.pseudonyms import DEMO_SECRET, Pseudonyms
from hyperct_pipeline.volumes.converted import NiftiFile
from hyperct_pipeline.volumes.due import Due
from hyperct_pipeline.volumes.preprocess_report import preprocess_study
from hyperct_pipeline.volumes.preprocessing import PreprocessConfig
from hyperct_pipeline.volumes.store import VolumeStore

N_SLICES, MATRIX, PIXEL_MM = 300, 512, 0.7
PARAMETERS = Path(__file__).parents[1] / "conf" / "base" / "parameters_convert.yml"


def main(repetitions: int = 7) -> None:
    """Print medians in seconds and their ratio."""
    config = TypeAdapter(ConvertConfig).validate_python(yaml.safe_load(PARAMETERS.read_text())["convert"])
    with tempfile.TemporaryDirectory() as folder:
        series = Path(folder) / "series"
        write_series(series)
        ours = list(times_of_ours(series, Path(folder) / "nifti", config, repetitions))
        preprocessing = list(times_of_preprocessing(Path(folder), repetitions))
        theirs = list(times_of_dcm2niix(series, Path(folder) / "dcm2niix", config.gzip_level, repetitions))
    headers, conversion = (statistics.median(times) for times in zip(*ours, strict=True))
    print(f"index and selection   {headers:6.2f} s")
    print(f"conversion            {conversion:6.2f} s")
    print(f"together              {headers + conversion:6.2f} s")
    print(f"preprocessing         {statistics.median(preprocessing):6.2f} s")
    if theirs:
        print(f"dcm2niix -z i -{config.gzip_level}       {statistics.median(theirs):6.2f} s")
        print(f"ratio                 {(headers + conversion) / statistics.median(theirs):6.2f}")
    else:
        print("dcm2niix is not on the PATH")


def times_of_ours(series: Path, folder: Path, config: ConvertConfig, repetitions: int) -> Iterator[tuple[float, float]]:
    """Seconds of index and selection, and of conversion; a first conversion warms the study process."""
    folder.mkdir()
    chosen = [choose(series, config)] * (repetitions + 1)
    results = convert_all(chosen, series, folder, config)
    next(results)
    for _ in range(repetitions):
        start = time.perf_counter()
        choose(series, config)
        middle = time.perf_counter()
        _, row = next(results)
        assert row["status"] == "converted", row["reason_codes"]
        yield middle - start, time.perf_counter() - middle


def times_of_preprocessing(folder: Path, repetitions: int) -> Iterator[float]:
    """Seconds from the NIfTI to the stored volume, in this process."""
    (nifti,) = map(NiftiFile, (folder / "nifti").glob("*.nii.gz"))
    config = PreprocessConfig(shape_zyx=(164, 164, 164))
    wanted = {"study_key": "a", "rejected_for": None, "input_sha256": nifti().digest()}
    for _ in range(repetitions):
        start = time.perf_counter()
        row = preprocess_study(Due(wanted, nifti), VolumeStore(folder / "store"), config)
        assert row["status"] == "stored", row["reason_codes"]
        yield time.perf_counter() - start


def choose(series: Path, config: ConvertConfig) -> ChosenSeries:
    """Index, gate and selection of the one series."""
    _, (chosen,) = select_series(index_series(series), Pseudonyms(DEMO_SECRET), config)
    return chosen


def times_of_dcm2niix(series: Path, folder: Path, level: int, repetitions: int) -> Iterator[float]:
    """Seconds of the whole command; nothing where it is not installed."""
    command = shutil.which("dcm2niix")
    folder.mkdir()
    for _ in range(repetitions if command else 0):
        start = time.perf_counter()
        subprocess.run([command, "-z", "i", f"-{level}", "-o", folder, series], check=True, capture_output=True)
        yield time.perf_counter() - start
        for file in folder.iterdir():
            file.unlink()


def write_series(folder: Path) -> None:
    """A body with two lungs and the noise of a low-dose CT."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:MATRIX, :MATRIX] - MATRIX / 2
    body = (x / 220) ** 2 + (y / 160) ** 2 < 1
    lungs = ((np.abs(x) - 100) / 70) ** 2 + (y / 100) ** 2 < 1
    hu = np.where(body, np.where(lungs, -850.0, 40.0), -1000.0)
    for z in range(N_SLICES):
        stored = np.rint(hu + rng.normal(0, 20, hu.shape)) + 1024
        image(z, stored.astype("<i2").tobytes()).save_as(folder / f"{z:04d}.dcm")


def image(z: int, pixels: bytes) -> FileDataset:
    """One slice as a scanner writes it."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["image", str(z)])
    file = pydicom.dataset.FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    file.StudyInstanceUID, file.SeriesInstanceUID = generate_uid(entropy_srcs=["s"]), generate_uid(entropy_srcs=["t"])
    file.PatientID, file.PatientName, file.StudyDate = "p1", "Synthetic", "20200101"
    file.Modality, file.ImageType, file.Manufacturer = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"], "SIEMENS"
    file.BodyPartExamined, file.ConvolutionKernel, file.SeriesNumber, file.InstanceNumber = "CHEST", "B30f", 2, z + 1
    file.ImagePositionPatient = [-MATRIX * PIXEL_MM / 2, -MATRIX * PIXEL_MM / 2, float(z)]
    file.ImageOrientationPatient, file.PixelSpacing, file.SliceThickness = [1, 0, 0, 0, 1, 0], [PIXEL_MM] * 2, 1.0
    file.SamplesPerPixel, file.PhotometricInterpretation, file.Rows, file.Columns = 1, "MONOCHROME2", MATRIX, MATRIX
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 16, 15, 1
    file.RescaleSlope, file.RescaleIntercept, file.PixelData = 1, -1024, pixels
    return file


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
