from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from hyperct_pipeline.phantom.acquisition import Acquired, write_study
from hyperct_pipeline.phantom.chest import Anatomy, draw_anatomy, paint_chest
from hyperct_pipeline.phantom.cohort import PhantomConfig, Study

CONFIG = PhantomConfig(matrix=64, share_thin=1.0, share_lung_kernel=1.0)


def written(study: Study, folder: Path, config: PhantomConfig = CONFIG) -> tuple[Acquired, dict[int, list[Dataset]]]:
    """The record and the readable instances by series number, feet first."""
    acquired = write_study(study, config, folder)
    series: dict[int, list[Dataset]] = defaultdict(list)
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        try:
            read = pydicom.dcmread(path)
        except InvalidDicomError:
            continue
        series[int(read.SeriesNumber)].append(read)
    for instances in series.values():
        instances.sort(key=lambda d: float(d.ImagePositionPatient[2]))
    return acquired, series


def hu_of(instances: list[Dataset]) -> np.ndarray:
    return np.stack([d.pixel_array * float(d.RescaleSlope) + float(d.RescaleIntercept) for d in instances])


@pytest.mark.parametrize("site_row", [6, 300])
def test_a_study_holds_localizer_thick_thin_and_sharp_series(plan: list[Study], tmp_path: Path, site_row: int) -> None:
    study = plan[site_row]
    acquired, series = written(study, tmp_path)
    assert sorted(series) == [1, 2, 3, 4]
    assert len(series[1]) == 1 and series[1][0].ImageType[2] == "LOCALIZER"
    thick_mm = 5.0 if study.site == "A" else 6.0
    assert [float(series[k][0].SliceThickness) for k in (2, 3)] == [thick_mm, thick_mm / 2]
    assert len(series[3]) == 2 * len(series[2])
    soft, lung = acquired.scanner.kernel_names["soft"], acquired.scanner.kernel_names["lung"]
    assert [series[k][0].ConvolutionKernel for k in (2, 3, 4)] == [soft, soft, lung]
    assert sum(map(len, series.values())) == acquired.n_files
    for instances in series.values():
        assert {d.StudyInstanceUID for d in instances} == {acquired.study_instance_uid}
        assert {d.PatientID for d in instances} == {study.patient_id}
        assert {d.PatientAge for d in instances} == {f"{study.age_years:03d}Y"}
    z = [float(d.ImagePositionPatient[2]) for d in series[2]]
    np.testing.assert_allclose(np.diff(z), thick_mm, atol=1e-3)
    # head first in the instance numbers
    assert [d.InstanceNumber for d in series[2]] == list(range(len(z), 0, -1))


def test_thick_slices_are_the_thin_ones_averaged_in_place(plan: list[Study], tmp_path: Path) -> None:
    _, series = written(plan[300], tmp_path)
    thick, thin = hu_of(series[2]), hu_of(series[3])
    pairs = 0.5 * (thin[::2] + thin[1::2])
    inner = (slice(None), slice(16, 48), slice(16, 48))
    assert abs(np.mean(thick[inner] - pairs[inner])) < 1
    assert np.std(thick[inner] - pairs[inner]) < 30  # noise of both
    z = [np.mean([float(d.ImagePositionPatient[2]) for d in series[3][k : k + 2]]) for k in (0, 2)]
    np.testing.assert_allclose([float(d.ImagePositionPatient[2]) for d in series[2][:2]], z, atol=1e-3)


def test_nodules_lie_at_their_dicom_position(plan: list[Study], tmp_path: Path) -> None:
    study = next(s for s in plan if s.severity("lung_nodule") > 0.8 and s.severity("consolidation") == 0)
    acquired, series = written(study, tmp_path, replace(CONFIG, matrix=128))
    thin = series[3]
    hu = hu_of(thin)
    corner = np.array([float(v) for v in thin[0].ImagePositionPatient])
    step = np.array([float(thin[0].PixelSpacing[1]), float(thin[0].PixelSpacing[0]), float(thin[0].SliceThickness)])
    assert acquired.nodules_mm
    for *place, _ in acquired.nodules_mm:
        i, j, k = np.rint((np.array(place) - corner) / step).astype(int)
        assert hu[k - 1 : k + 2, j - 1 : j + 2, i - 1 : i + 2].mean() > -150


def test_hu_in_the_file_are_the_painted_ones_within_noise(plan: list[Study], tmp_path: Path) -> None:
    for row in (6, 300):
        acquired, series = written(plan[row], tmp_path / str(row))
        hu, h = hu_of(series[2]), acquired.anatomy.habitus
        first = series[2][0]
        corner, pixel = [float(v) for v in first.ImagePositionPatient], float(first.PixelSpacing[0])
        place = np.array([-0.45 * h.chest_half_width_mm, -10, 0.4 * h.dome_right_mm]) + h.patient_shift_mm
        i, j = (round((place[a] - corner[a]) / pixel) for a in (0, 1))
        k = round((place[2] - corner[2]) / float(first.SliceThickness))
        liver = hu[k - 1 : k + 2, j - 2 : j + 3, i - 2 : i + 3]
        assert liver.mean() == pytest.approx(60, abs=8)
        air = hu[:, 1:4, 30:34]
        assert air.mean() == pytest.approx(-1000, abs=12)


BREAKS = {
    "localizer_only": lambda s: sorted(s) == [1],
    "missing_slice": lambda s: np.ptp(np.diff([float(d.ImagePositionPatient[2]) for d in s[2]])) > 4,
    "matrix_varies": lambda s: {d.Rows for d in s[2]} == {64, 32},
    "no_rescale": lambda s: "RescaleSlope" not in s[2][0] and "RescaleIntercept" not in s[2][0],
    "mr_modality": lambda s: s[2][0].Modality == "MR" and s[2][0].SOPClassUID == "1.2.840.10008.5.1.4.1.1.4",
    "contrast_only": lambda s: bool(s[2][0].ContrastBolusAgent) and np.percentile(hu_of(s[2]), 90) > 20,
    "truncated_file": lambda s: sum(len(d.PixelData) < 64 * 64 * 2 for d in s[2]) == 1,
    "junk_files": lambda s: sorted(s) == [1, 2],
    "empty_file": lambda s: sorted(s) == [1, 2],
}


@pytest.mark.filterwarnings("ignore:End of file reached:UserWarning")
@pytest.mark.parametrize("kind", BREAKS)
def test_a_broken_study_is_broken_as_announced(plan: list[Study], tmp_path: Path, kind: str) -> None:
    study = replace(plan[6], broken=kind)
    _, series = written(study, tmp_path)
    assert BREAKS[kind](series)
    others = [p for p in tmp_path.rglob("*") if p.is_file() and p.read_bytes()[128:132] != b"DICM"]
    assert len(others) == (2 if kind in ("junk_files", "empty_file") else 0)


def test_enhanced_blood_is_bright(plan: list[Study], tmp_path: Path) -> None:
    _, plain = written(plan[6], tmp_path / "a")
    _, bright = written(replace(plan[6], broken="contrast_only"), tmp_path / "b")
    assert (hu_of(bright[2]) > 150).mean() > (hu_of(plain[2]) > 150).mean() + 0.01


def painted(study: Study, anatomy: Anatomy, blood_hu: float) -> np.ndarray:
    """Noise-free HU on a 3 mm grid."""
    x = np.arange(-192, 192, 3).astype(np.float32)
    z = np.arange(-24, anatomy.habitus.lung_height_mm + 18, 3).astype(np.float32)
    return paint_chest(study, anatomy, (x, x.copy(), z), 2026, blood_hu)[0]


@pytest.mark.parametrize("finding", ["consolidation", "lymphadenopathy", "lung_nodule"])
def test_contrast_acts_on_blood_and_on_no_finding(plan: list[Study], finding: str) -> None:
    anatomy = draw_anatomy(plan[10], 2026)
    none = dict.fromkeys(anatomy.severity, 0.0)
    ill = replace(anatomy, severity=none | {finding: 0.8})
    plain, enhanced = (painted(plan[10], ill, blood_hu) for blood_hu in (38.0, 190.0))
    healthy = painted(plan[10], replace(anatomy, severity=none), 38.0)
    gain_hu = enhanced - plain
    assert gain_hu.min() > -1e-3 and gain_hu.max() == pytest.approx(152, abs=1e-3)
    assert 0.01 < (gain_hu > 76).mean() < 0.03  # heart and vessels
    lesion = np.abs(plain - healthy) > 60
    assert lesion.sum() > 2000
    assert (gain_hu[lesion] > 76).mean() < 0.002  # vessels that cross a consolidation
    assert gain_hu[plain > 200].max() < 76  # bone beside blood
