from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hyperct_pipeline.dicom.index import LostFolder, index_series
from hyperct_pipeline.dicom.selection import select_series
from hyperct_pipeline.dicom.series_table import INDEX_TYPES
from hyperct_pipeline.pseudonyms import DEMO_SECRET, Pseudonyms

PSEUDONYMS = Pseudonyms(DEMO_SECRET)
HU = np.zeros((8, 4, 6), dtype=np.int16)


def stack(spacing_mm: float, n: int = 8) -> list[tuple[float, float, float]]:
    return [(0.0, 0.0, spacing_mm * z) for z in range(n)]


def judge(archive: Path, config) -> tuple[pd.DataFrame, list]:
    return select_series(index_series(archive), PSEUDONYMS, config)


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"Modality": "MR"}, "NOT_CT"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "LOCALIZER"),
        ({"SeriesDescription": "Topogram 0.6"}, "LOCALIZER"),
        ({"ImageType": ["DERIVED", "PRIMARY", "AXIAL"]}, "DERIVED"),
        ({"ImageType": ["ORIGINAL", "SECONDARY", "MIP"]}, "DERIVED"),
        ({"NumberOfFrames": 2}, "MULTIFRAME"),
        ({"BodyPartExamined": "HEAD"}, "NOT_CHEST"),
        ({"ContrastBolusAgent": "IV"}, "CONTRAST"),
        ({"PixelSpacing": None}, "NO_GEOMETRY"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, "NOT_AXIAL"),
    ],
)
def test_hard_exclusions(write_series, tmp_path: Path, config, tags: dict, reason: str) -> None:
    write_series(HU, tags=tags)
    index, chosen = judge(tmp_path / "archive", config)
    assert chosen == []
    assert list(index["status"]) == ["refused"]
    assert index["reason_codes"][0].split(";")[0] == reason


@pytest.mark.parametrize(("min_slices", "reason"), [(8, ""), (9, "TOO_FEW_SLICES")])
def test_slice_limit(write_series, tmp_path: Path, config, min_slices: int, reason: str) -> None:
    write_series(HU)
    index, _ = judge(tmp_path / "archive", replace(config, min_slices=min_slices))
    assert index["reason_codes"][0] == reason


@pytest.mark.parametrize(("min_mm", "reason"), [(20.0, ""), (20.1, "SHORT_Z_EXTENT")])
def test_extent_limit(write_series, tmp_path: Path, config, min_mm: float, reason: str) -> None:
    write_series(HU)  # 8 slices of 2.5 mm
    index, _ = judge(tmp_path / "archive", replace(config, min_z_extent_mm=min_mm))
    assert index["reason_codes"][0] == reason


def test_contrast_is_a_warning_where_allowed(write_series, tmp_path: Path, config) -> None:
    write_series(HU, tags={"ContrastBolusAgent": "IV"})
    index, chosen = judge(tmp_path / "archive", replace(config, allow_contrast=True))
    assert list(index["status"]) == ["selected"] and chosen[0].warnings == ("CONTRAST",)
    assert bool(index["contrast"][0]) is True


def test_ranking_and_what_each_loser_lost_by(write_series, tmp_path: Path, config) -> None:
    write_series(HU, folder="best", positions=stack(1.5))
    write_series(HU, folder="lung", positions=stack(1.5), tags={"ConvolutionKernel": "LUNG"})
    write_series(HU, folder="thick", positions=stack(5.0))
    write_series(HU, folder="thin", positions=stack(0.4))
    write_series(HU[:7], folder="short", positions=stack(1.5, 7))
    write_series(HU, folder="contrast", positions=stack(1.0), tags={"ContrastBolusAgent": "IV"})
    config = replace(config, target_spacing_mm=1.5, min_z_extent_mm=3.0, allow_contrast=True)
    index, (chosen,) = judge(tmp_path / "archive", config)
    found = index.set_index(["spacing_mm", "kernel", "n_instances"])["reason_codes"].to_dict()
    assert found == {
        (1.5, "STANDARD", 8): "",
        (1.5, "LUNG", 8): "KERNEL_LUNG",
        (5.0, "STANDARD", 8): "THICK",
        (0.4, "STANDARD", 8): "THIN",
        (1.5, "STANDARD", 7): "FEWER_SLICES",
        (1.0, "STANDARD", 8): "CONTRAST",
    }
    assert index.set_index("series_key")["status"].to_dict()[chosen.series_key] == "selected"
    assert len(chosen.source.headers) == 8


def test_tie_falls_to_the_smaller_key(write_series, tmp_path: Path, config) -> None:
    for folder in ("a", "b", "c"):
        write_series(HU, folder=folder)
    index, (chosen,) = judge(tmp_path / "archive", config)
    assert chosen.series_key == index["series_key"].min()
    assert sorted(index["reason_codes"]) == ["", "NOT_CHOSEN", "NOT_CHOSEN"]


def test_a_series_that_fails_the_gate_leaves_the_study_to_the_next(write_series, tmp_path: Path, config) -> None:
    gap = stack(1.0, 9)
    del gap[4]
    write_series(HU, folder="thin with a gap", positions=gap)
    write_series(HU, folder="thick", positions=stack(5.0))
    index, (chosen,) = judge(tmp_path / "archive", config)
    assert set(zip(index["status"], index["reason_codes"], strict=True)) == {
        ("refused", "MISSING_SLICE"),
        ("selected", ""),
    }
    assert chosen.source.headers[1].numbers["ImagePositionPatient"][2] == 5.0


def test_index_has_one_typed_row_per_group_and_hides_identifiers(write_series, tmp_path: Path, config) -> None:
    canaries = ("PatientID", "AccessionNumber", "StudyDescription", "SeriesDescription", "ProtocolName")
    write_series(HU, folder="CANARY", tags=dict.fromkeys(canaries, "CANARY chest") | {"Modality": "CT"})
    groups = index_series(tmp_path / "archive")
    index, chosen = select_series(groups, PSEUDONYMS, config)
    assert {name: str(dtype) for name, dtype in index.dtypes.items()}.keys() == INDEX_TYPES.keys()
    for text in (index.to_csv(), repr(index), repr(list(groups)), repr(chosen)):
        assert "CANARY" not in text and str(tmp_path) not in text
        assert all(header["StudyInstanceUID"] not in text for group in groups for header in group.headers)


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"Modality": "MR"}, "NOT_CT"),
        ({"ImageType": ["DERIVED", "PRIMARY", "AXIAL"]}, "DERIVED"),
        ({"ContrastBolusAgent": "IV"}, "CONTRAST"),
        ({"NumberOfFrames": 2}, "MULTIFRAME"),
    ],
)
def test_one_image_is_enough_to_exclude(write_series, tmp_path: Path, config, tags: dict, reason: str) -> None:
    write_series(HU, per_image={5: tags})
    index, chosen = judge(tmp_path / "archive", config)
    assert chosen == [] and index["reason_codes"][0] == reason


def test_study_of_two_patients_is_refused(write_series, tmp_path: Path, config) -> None:
    write_series(HU, folder="a", tags={"PatientID": "p1"})
    write_series(HU, folder="b", tags={"PatientID": "P1 "})
    assert len(judge(tmp_path / "archive", config)[1]) == 1  # one person, written in two ways
    write_series(HU, folder="c", tags={"PatientID": "p2"})
    index, chosen = judge(tmp_path / "archive", config)
    assert chosen == [] and list(index["reason_codes"]) == ["MIXED_PATIENTS"] * 3


def test_keep_all_converts_every_usable_series(write_series, tmp_path: Path, config) -> None:
    write_series(HU, folder="a")
    write_series(HU, folder="b", tags={"ConvolutionKernel": "LUNG"})
    write_series(HU, folder="c", tags={"Modality": "MR"})
    index, chosen = judge(tmp_path / "archive", replace(config, keep="all"))
    assert sorted(index["status"]) == ["refused", "selected", "selected"]
    study = index["study_key"][0]
    lung = index.loc[index["kernel"] == "LUNG", "series_key"].item()
    assert [series.key for series in chosen] == [study, f"{study}_{lung}"]
    assert set(index["volume"].dropna()) == {series.key for series in chosen}


def test_lost_folder_is_a_refused_study(write_series, tmp_path: Path, config) -> None:
    write_series(HU)
    lost = [LostFolder("CANARY", "UNREADABLE_FOLDER")]
    index, _ = select_series(index_series(tmp_path / "archive"), PSEUDONYMS, config, lost=lost)
    assert sorted(zip(index["status"], index["reason_codes"], strict=True)) == [
        ("refused", "UNREADABLE_FOLDER"),
        ("selected", ""),
    ]
    assert index[["study_key", "series_key", "patient_key"]].notna().all(axis=None) and "CANARY" not in index.to_csv()
