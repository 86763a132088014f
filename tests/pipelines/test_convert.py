import gzip
import logging
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pydicom
import pytest
import yaml
from pydantic import TypeAdapter
from pydicom._dicom_dict import DicomDictionary
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from hyperct_pipeline.datasets import NiftiFolder, RecordFolder, StudyTable
from hyperct_pipeline.dicom.conversion import ConvertConfig
from hyperct_pipeline.phantom import PhantomConfig, write_phantom
from hyperct_pipeline.pipelines.convert import nodes
from hyperct_pipeline.pipelines.convert.pipeline import create_pipeline
from hyperct_pipeline.pseudonyms import DEMO_SECRET, Pseudonyms
from hyperct_pipeline.study_workers import ONE_AT_A_TIME, WorkersConfig
from hyperct_pipeline.volumes.volume import Volume

CONF = Path(__file__).parents[2] / "conf"
PSEUDONYMS = Pseudonyms(DEMO_SECRET)


def parameters(environment: str, group: str) -> dict[str, Any]:
    return yaml.safe_load((CONF / environment / f"parameters_{group}.yml").read_text())[group]


CONFIG = TypeAdapter(ConvertConfig).validate_python(parameters("base", "convert"))


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    """A small archive with one study of each fault, and its truth."""
    root = tmp_path_factory.mktemp("phantom")
    counts = dict.fromkeys(("n_internal_test", "n_external_test", "n_prospective_a", "n_prospective_b"), 1)
    config = PhantomConfig(n_development=3, n_broken=9, n_unlabelled=0, matrix=64, n_workers=1, **counts)
    truth, *_ = write_phantom(root, config)
    return root, truth


def convert(
    archive: Path, config: ConvertConfig, done: nodes.Rows, folder: Path, workers: WorkersConfig = ONE_AT_A_TIME
) -> tuple[pd.DataFrame, dict[str, Volume], nodes.Rows]:
    groups = nodes.index_archive(archive, pd.DataFrame(), config, workers)
    index, chosen = nodes.select_series(groups, PSEUDONYMS, pd.DataFrame(), pd.DataFrame(), config)
    rows: nodes.Rows = {}
    for volumes, row_chunk in nodes.convert_studies(archive, chosen, done, folder, config, workers):
        assert volumes == {}  # processes write them
        rows |= row_chunk
    return index, {key: load() for key, load in NiftiFolder(str(folder)).load().items()}, rows


def test_catalog_names() -> None:
    pipeline = create_pipeline()
    decided = {"exclusions", "overrides", "nifti_table"}
    handles = {"conversion_rows_done", "nifti_folder"}
    assert (
        pipeline.inputs()
        == {"dicom_archive", "pseudonyms", "params:convert", "params:study_workers"} | decided | handles
    )
    assert pipeline.outputs() == {"nifti", "conversion_manifest", "conversion_timings", "crosswalk"}


def test_paper_settings_are_valid() -> None:
    settings = parameters("base", "study_workers") | parameters("paper", "study_workers")
    TypeAdapter(WorkersConfig).validate_python(settings)


def test_every_phantom_study_ends_as_its_truth_says(phantom: tuple[Path, pd.DataFrame], tmp_path: Path, caplog) -> None:
    root, truth = phantom
    with caplog.at_level(logging.DEBUG):
        index, volumes, rows = convert(root, CONFIG, {}, tmp_path)
        manifest, timings = nodes.conversion_manifest(index, rows)
    keys = truth["study_instance_uid"].map(PSEUDONYMS.study_key)
    expected = dict(zip(keys, truth["expected_status"], strict=True))
    assert dict(zip(manifest["study_key"], manifest["status"], strict=True)) == expected
    assert (
        set(volumes) == {key for key, status in expected.items() if status == "converted"} == set(timings["study_key"])
    )
    by_key = manifest.set_index("study_key")
    for key, study in zip(keys, truth.itertuples(), strict=True):
        row = by_key.loc[key]
        assert row["patient_key"] == PSEUDONYMS.patient_key(str(study.patient_id))
        assert row["accession_key"] == PSEUDONYMS.accession_key(str(study.accession_number))
        assert (row["sex"], row["age_years"]) == (study.sex, min(study.age_years, 90))
    refused = manifest[manifest["status"] == "refused"]
    assert (refused["message"] != "").all() and refused["reason_codes"].str.startswith("NO_USABLE_SERIES;").all()

    left_behind = caplog.text + index.to_csv() + manifest.to_csv() + str(rows)
    for column in ("patient_id", "accession_number", "study_instance_uid"):
        assert not [value for value in truth[column].astype(str) if value in left_behind]
    assert str(root) not in left_behind


def test_second_run_converts_only_what_is_missing(phantom: tuple[Path, pd.DataFrame], tmp_path: Path) -> None:
    root, _ = phantom
    index, _, rows = convert(root, CONFIG, {}, tmp_path)
    index_again, _, new_rows = convert(root, CONFIG, rows, tmp_path)
    assert new_rows == {}
    pd.testing.assert_frame_equal(index, index_again)
    gone = min(key for key, row in rows.items() if row["status"] == "converted")
    content = (tmp_path / f"{gone}.nii.gz").read_bytes()
    (tmp_path / f"{gone}.nii.gz").unlink()
    _, _, new_rows = convert(root, CONFIG, rows, tmp_path)
    assert list(new_rows) == [gone]
    assert (tmp_path / f"{gone}.nii.gz").read_bytes() == content


def test_first_chunk_is_empty_so_that_kedro_has_one(tmp_path: Path) -> None:
    assert list(nodes.convert_studies(tmp_path, [], {}, tmp_path, CONFIG, ONE_AT_A_TIME)) == [({}, {})]


def test_two_runs_give_the_same_manifest_and_bytes(phantom: tuple[Path, pd.DataFrame], tmp_path: Path) -> None:
    root, _ = phantom
    first_index, first, rows = convert(root, CONFIG, {}, tmp_path / "a")
    again_index, _, rows_again = convert(root, CONFIG, {}, tmp_path / "b", WorkersConfig(n_workers=2))
    pd.testing.assert_frame_equal(
        nodes.conversion_manifest(first_index, rows)[0], nodes.conversion_manifest(again_index, rows_again)[0]
    )
    for key in first:
        name = f"{key}.nii.gz"
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_what_became_of_every_group_is_logged(phantom: tuple[Path, pd.DataFrame], tmp_path: Path, caplog) -> None:
    root, _ = phantom
    index, _, rows = convert(root, CONFIG, {}, tmp_path)
    with caplog.at_level(logging.INFO):
        nodes.conversion_manifest(index, rows)
    counts = re.search(r"(\d+) found = (\d+) converted \+ (\d+) refused \+ (\d+) failed \+ (\d+) not", caplog.text)
    assert counts is not None
    found, *parts = map(int, counts.groups())
    assert found == len(index) == sum(parts)


TEXT_VRS = {"AE", "LO", "LT", "PN", "SH", "ST", "UC", "UT", "UR"}
KEPT_TEXTS = {"ConvolutionKernel", "RescaleType"}


def write_canaries(archive: Path) -> None:
    """A study with a canary in every text tag, in UIDs, dates, names and private tags; beside it what is broken."""
    folder = archive / "CANARY^folder" / "CANARY series"
    folder.mkdir(parents=True)
    for z in range(8):
        file = dicom_image(z)
        for tag, (vr, _, _, retired, keyword) in DicomDictionary.items():
            if vr in TEXT_VRS and keyword and not retired and keyword not in KEPT_TEXTS and tag >> 16 > 0x0008:
                file.add_new(tag, vr, "CANARY")
        for keyword in ("InstitutionName", "StudyDescription", "AccessionNumber", "ReferringPhysicianName"):
            setattr(file, keyword, "CANARY")
        file.PatientBirthDate, file.StudyDate = "19770707", "20170707"
        file.private_block(0x0011, "CANARY", create=True).add_new(1, "LO", "CANARY")
        file.save_as(folder / f"CANARY {z}.dcm")
    (folder / "CANARY.txt").write_text("CANARY")
    (folder / "CANARY.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"CANARY" * 9)
    (archive / "CANARY lost").mkdir()
    (archive / "CANARY lost" / "CANARY.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"CANARY" * 9)
    broken = archive / "CANARY broken"
    broken.mkdir()
    for z in range(8):
        file = dicom_image(z)
        file.StudyInstanceUID, file.SeriesInstanceUID = "1.2.777070707.9", "1.2.777070707.8"
        file.PatientName = file.PatientID = "CANARY"
        file.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.4.80")
        file.PixelData = encapsulate([b"CANARY\xff\xd9"])
        file["PixelData"].VR = "OB"
        file.save_as(broken / f"CANARY{z}")


def dicom_image(z: int) -> pydicom.Dataset:
    file = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    file.remove_private_tags()
    file.SOPInstanceUID = f"1.2.777070707.1.{z}"
    file.StudyInstanceUID, file.SeriesInstanceUID = "1.2.777070707.2", "1.2.777070707.3"
    file.ImagePositionPatient, file.BodyPartExamined = [0.0, 0.0, 2.5 * z], "CHEST"
    file.ImageType, file.ConvolutionKernel = ["ORIGINAL", "PRIMARY", "AXIAL"], "STANDARD"
    del file.ContrastBolusAgent
    return file


@pytest.mark.parametrize("n_workers", [1, 2])
def test_no_canary_in_any_byte_left_behind(tmp_path: Path, caplog, capfd, n_workers: int) -> None:
    write_canaries(tmp_path / "archive")
    out = tmp_path / "out"
    config = replace(CONFIG, min_slices=3, min_z_extent_mm=5.0, allow_contrast=True)
    with caplog.at_level(logging.DEBUG):
        index, volumes, rows = convert(tmp_path / "archive", config, {}, out / "nifti", WorkersConfig(n_workers))
        manifest, timings = nodes.conversion_manifest(index, rows)
    for name, table in {"index": index, "manifest": manifest, "timings": timings}.items():
        StudyTable(str(out / f"{name}.parquet")).save(table)
    RecordFolder(str(out / "rows")).save(rows)
    assert sorted(manifest["status"]) == ["converted", "failed", "refused"] and len(volumes) == 1
    printed = "".join(capfd.readouterr())
    texts = [caplog.text.encode(), printed.encode()]
    for file in filter(Path.is_file, out.rglob("*")):
        content = file.read_bytes()
        texts += [file.name.encode(), gzip.decompress(content) if file.suffix == ".gz" else content]
    for canary in (b"canary", b"777070707", b"19770707", b"20170707"):
        assert not [text[:200] for text in texts if canary in text.lower()]
