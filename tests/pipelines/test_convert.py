import logging
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from pydantic import TypeAdapter

from hyperct_pipeline.datasets import NiftiFolder
from hyperct_pipeline.dicom.conversion import ConvertConfig
from hyperct_pipeline.phantom import PhantomConfig, write_phantom
from hyperct_pipeline.pipelines.convert import nodes
from hyperct_pipeline.pipelines.convert.pipeline import create_pipeline
from hyperct_pipeline.pseudonyms import DEMO_SECRET, Pseudonyms
from hyperct_pipeline.volumes.volume import Volume

CONF = Path(__file__).parents[2] / "conf"
PSEUDONYMS = Pseudonyms(DEMO_SECRET)


def parameters(*environments: str) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for environment in environments:
        merged |= yaml.safe_load((CONF / environment / "parameters_convert.yml").read_text())["convert"]
    return merged


CONFIG = TypeAdapter(ConvertConfig).validate_python(parameters("base") | {"n_workers": 1})


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    """A small archive with one study of each fault, and its truth."""
    root = tmp_path_factory.mktemp("phantom")
    counts = dict.fromkeys(("n_internal_test", "n_external_test", "n_prospective_a", "n_prospective_b"), 1)
    config = PhantomConfig(n_development=3, n_broken=9, n_unlabelled=0, matrix=64, n_workers=1, **counts)
    truth, *_ = write_phantom(root, config)
    return root, truth


def convert(
    archive: Path, config: ConvertConfig, done: nodes.Rows, folder: Path
) -> tuple[pd.DataFrame, dict[str, Volume], nodes.Rows]:
    groups = nodes.index_archive(archive, config)
    index, chosen = nodes.select_series(groups, PSEUDONYMS, pd.DataFrame(), pd.DataFrame(), config)
    rows: nodes.Rows = {}
    for volumes, row_chunk in nodes.convert_studies(archive, chosen, done, folder, config):
        assert volumes == {}  # processes write them
        rows |= row_chunk
    return index, {key: load() for key, load in NiftiFolder(str(folder)).load().items()}, rows


def test_catalog_names() -> None:
    pipeline = create_pipeline()
    decided = {"exclusions", "overrides"}
    handles = {"conversion_rows_done", "nifti_folder"}
    assert pipeline.inputs() == {"dicom_archive", "pseudonyms", "params:convert"} | decided | handles
    assert pipeline.outputs() == {"nifti", "conversion_manifest", "conversion_timings", "crosswalk"}


def test_paper_settings_are_valid() -> None:
    TypeAdapter(ConvertConfig).validate_python(parameters("base", "paper"))


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
    assert list(nodes.convert_studies(tmp_path, [], {}, tmp_path, CONFIG)) == [({}, {})]


def test_two_runs_give_the_same_manifest_and_bytes(phantom: tuple[Path, pd.DataFrame], tmp_path: Path) -> None:
    root, _ = phantom
    first_index, first, rows = convert(root, CONFIG, {}, tmp_path / "a")
    again_index, _, rows_again = convert(root, replace(CONFIG, n_workers=2), {}, tmp_path / "b")
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
