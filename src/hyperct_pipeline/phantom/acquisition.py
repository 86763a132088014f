"""One study from its plan to DICOM files: grid, series, headers, and what is broken in a broken study."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hyperct_pipeline.phantom.anatomy import BLOOD
from hyperct_pipeline.phantom.chest import Anatomy, draw_anatomy, paint_chest
from hyperct_pipeline.phantom.cohort import PhantomConfig, Study
from hyperct_pipeline.phantom.instances import Series, encode_series, uid, write_instances
from hyperct_pipeline.phantom.scanner import Kernel, Scanner, draw_scanner, reconstruct, store
from hyperct_pipeline.phantom.shapes import Field

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
ENHANCED_BLOOD = 190.0  # HU, after contrast


@dataclass(frozen=True)
class Acquired:
    """What was written for one study, for the truth table."""

    study: Study
    anatomy: Anatomy
    scanner: Scanner
    study_instance_uid: str
    n_files: int
    nodules_mm: tuple[tuple[float, float, float, float], ...]  # DICOM x, y, z and diameter
    thin: bool
    lung_kernel: bool


@dataclass(frozen=True)
class _Scan:
    """A study on the scanner: noise-free HU and where its first voxel lies."""

    study: Study
    scanner: Scanner
    hu: Field  # (Z, Y, X), slices from the feet up
    spacing_mm: float  # between slices
    pixel_mm: float
    corner_mm: tuple[float, float, float]  # DICOM position of voxel (0, 0, 0)
    body_width_mm: float

    def thickened(self) -> "_Scan":
        """Slices averaged in pairs."""
        n = len(self.hu) // 2 * 2
        x, y, z = self.corner_mm
        hu = 0.5 * (self.hu[0:n:2] + self.hu[1:n:2])
        return replace(self, hu=hu, spacing_mm=2 * self.spacing_mm, corner_mm=(x, y, z + 0.5 * self.spacing_mm))


def write_study(study: Study, config: PhantomConfig, folder: Path) -> Acquired:
    """Write all files of a study under `folder`; the bytes depend on the study and the settings only."""
    anatomy = draw_anatomy(study, config.seed)
    generator = np.random.default_rng([config.seed, study.index, 5])
    scanner = draw_scanner(study.site, generator)
    thin = bool(generator.random() < config.share_thin) and not study.broken
    sharp = bool(generator.random() < config.share_lung_kernel) and not study.broken
    scan, nodules = _scan(study, anatomy, scanner, config, thin)
    thick = scan.thickened() if thin else scan
    kinds: list[tuple[_Scan, Kernel]] = [(thick, "soft")]
    if thin:
        kinds.append((scan, "soft"))
    if sharp:
        kinds.append((scan if thin and generator.random() < 0.5 else thick, "lung"))
    study_uid = uid(f"{config.seed}|{study.index}")
    series = [_localizer(scan, study_uid)]
    if study.broken != "localizer_only":
        series += [_series(s, kernel, n + 2, study_uid, generator) for n, (s, kernel) in enumerate(kinds)]
    files = _files(study, series, folder, generator)
    return Acquired(study, anatomy, scanner, study_uid, files, nodules, thin, sharp)


def _scan(
    study: Study, anatomy: Anatomy, scanner: Scanner, config: PhantomConfig, thin: bool
) -> tuple[_Scan, tuple[tuple[float, float, float, float], ...]]:
    h = anatomy.habitus
    generator = np.random.default_rng([config.seed, study.index, 6])
    thick_mm = config.thick_mm["AB".index(study.site)]
    spacing = thick_mm / 2 if thin else thick_mm
    view = float(np.clip(h.body_width_mm + generator.uniform(14, 34), *config.field_of_view_mm))
    pixel = round(view / config.matrix, 4)
    across = ((np.arange(config.matrix) - (config.matrix - 1) / 2) * pixel).astype(np.float32)
    low, high = -generator.uniform(12, 30), h.lung_height_mm + generator.uniform(10, 22)
    height = (low + spacing * np.arange(int((high - low) / spacing) // 2 * 2)).astype(np.float32)
    shift = h.patient_shift_mm
    sideways = across - np.float32(round(generator.normal(0, 4), 1))  # not quite centred
    blood_hu = ENHANCED_BLOOD if study.broken == "contrast_only" else BLOOD
    hu, found = paint_chest(study, anatomy, (sideways, across, height), config.seed, blood_hu)
    corner = (float(sideways[0]) + shift[0], float(across[0]) + shift[1], float(height[0]) + shift[2])
    nodules = tuple(
        (round(x + shift[0], 2), round(y + shift[1], 2), round(z + shift[2], 2), round(d, 2)) for x, y, z, d in found
    )
    return _Scan(study, scanner, hu, spacing, pixel, corner, h.body_width_mm), nodules


def _series(scan: _Scan, kernel: Kernel, number: int, study_uid: str, generator: np.random.Generator) -> Series:
    study, scanner = scan.study, scan.scanner
    contrast = study.broken == "contrast_only"
    hu = reconstruct(scan.hu, scanner, kernel, scan.spacing_mm, scan.body_width_mm, generator)
    n = len(hu)
    positions = np.tile(scan.corner_mm, (n, 1))
    positions[:, 2] += scan.spacing_mm * np.arange(n)
    name = scanner.kernel_names[kernel]
    header = _header(scan, study_uid) | {
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "SeriesNumber": number,
        "SeriesDescription": f"CHEST {scan.spacing_mm:.1f} {name}" + (" CM" if contrast else ""),
        "SliceThickness": f"{scan.spacing_mm:.1f}",
        "ConvolutionKernel": name,
        "RescaleSlope": f"{scanner.slope:g}",
        "RescaleIntercept": f"{scanner.intercept:g}",
        "RescaleType": "HU",
    }
    if scanner.padding is not None:
        header["PixelPaddingValue"] = scanner.padding
    if contrast:
        header |= {"ContrastBolusAgent": "IOHEXOL 350", "ContrastBolusRoute": "IV"}
    leave_out: tuple[str, ...] = ()
    if study.broken == "mr_modality":
        header |= {"Modality": "MR", "ScanningSequence": "GR", "SequenceVariant": "SP", "MRAcquisitionType": "2D"}
        leave_out = ("RescaleSlope", "RescaleIntercept", "RescaleType", "ConvolutionKernel", "KVP")
    if study.broken == "no_rescale":
        leave_out = ("RescaleSlope", "RescaleIntercept", "RescaleType")
    # head first in the instance numbers, as scanners do
    return Series(
        header, f"{study_uid}|{number}", scan.pixel_mm, AXIAL, positions[::-1], store(hu, scanner)[::-1], leave_out
    )


def _localizer(scan: _Scan, study_uid: str) -> Series:
    """A frontal projection, one image, head at the top."""
    hu = scan.hu.mean(axis=1)[None, ::-1]
    x, _, z = scan.corner_mm
    top = np.array([[x, 0.0, z + scan.spacing_mm * (len(scan.hu) - 1)]])
    header = _header(scan, study_uid) | {
        "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"],
        "SeriesNumber": 1,
        "SeriesDescription": "SCOUT",
        "RescaleSlope": "1",
        "RescaleIntercept": "-1024",
    }
    stored = np.rint(np.clip(hu, -1024, 3071) + 1024).astype(np.uint16)
    return Series(header, f"{study_uid}|1", scan.pixel_mm, CORONAL, top, stored)


def _header(scan: _Scan, study_uid: str) -> dict[str, object]:
    study, scanner = scan.study, scan.scanner
    day = study.date.strftime("%Y%m%d")
    born = study.date.replace(year=study.date.year - study.age_years, month=1, day=1)
    return {
        "SpecificCharacterSet": "ISO_IR 100",
        "StudyDate": day,
        "SeriesDate": day,
        "AcquisitionDate": day,
        "ContentDate": day,
        "StudyTime": f"{8 + study.index % 9:02d}{study.index % 60:02d}00",
        "AccessionNumber": study.accession_number,
        "Modality": "CT",
        "Manufacturer": scanner.manufacturer,
        "ManufacturerModelName": scanner.model,
        "InstitutionName": f"PHANTOM HOSPITAL {study.site}",
        "StudyDescription": "CT CHEST",
        "PatientName": f"PHANTOM^{study.patient_id.upper()}",
        "PatientID": study.patient_id,
        "PatientBirthDate": born.strftime("%Y%m%d"),
        "PatientSex": study.sex,
        "PatientAge": f"{study.age_years:03d}Y",
        "BodyPartExamined": "CHEST",
        "KVP": "120",
        "PatientPosition": "HFS",
        "StudyInstanceUID": study_uid,
        "StudyID": str(study.index + 1),
        "AcquisitionNumber": 1,
        "FrameOfReferenceUID": uid(f"{study_uid}|frame"),
        "SoftwareVersions": "phantom",
    }


def _files(study: Study, series: list[Series], folder: Path, generator: np.random.Generator) -> int:
    """Folders and names as the two sites' systems leave them, with the damage of a broken study."""
    here = folder / f"site_{study.site.lower()}"
    here = here / f"{study.date:%Y}" / f"E{study.index:05d}" if study.site == "A" else here / f"{study.index:06X}"
    written = 0
    for number, one in enumerate(series):
        instances = encode_series(one)
        order = generator.permutation(len(instances))
        if study.site == "A":
            place, names = here / f"S{number + 1:04d}", [f"I{k:04d}.dcm" for k in order]
        else:  # all series in one folder, no extension
            place, names = here, [uid(f"{one.uid_seed}|file|{k}")[5:21] for k in order]
        if number > 0:
            names, instances = _damage(study.broken, one, names, instances)
        write_instances(place, names, instances)
        written += len(instances)
    if study.broken in ("junk_files", "empty_file"):
        junk = {"junk_files": ("DICOMDIR.bak", b"not an image\n"), "empty_file": ("IM_LAST.dcm", b"")}
        name, content = junk[study.broken]
        (place / name).write_bytes(content)
        (place / "readme.txt").write_text("exported by hand\n", encoding="ascii")
    return written


def _damage(broken: str, series: Series, names: list[str], instances: list[bytes]) -> tuple[list[str], list[bytes]]:
    middle = len(instances) // 2
    if broken == "missing_slice":
        del names[middle], instances[middle]
    elif broken == "truncated_file":
        instances[middle] = instances[middle][: len(instances[middle]) // 2]
    elif broken == "matrix_varies":
        half = replace(series, stored=series.stored[:, ::2, ::2], pixel_spacing_mm=2 * series.pixel_spacing_mm)
        # few, so that the rest is long enough to be refused for its matrix and not for its length
        instances = instances[:-3] + encode_series(half)[-3:]
    return names, instances
