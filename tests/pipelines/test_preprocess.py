from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from pydantic import TypeAdapter

from hyperct_pipeline.pipelines.preprocess import nodes
from hyperct_pipeline.pipelines.preprocess.pipeline import create_pipeline
from hyperct_pipeline.study_workers import ONE_AT_A_TIME
from hyperct_pipeline.volumes.converted import NiftiFile
from hyperct_pipeline.volumes.nifti_file import write_nifti
from hyperct_pipeline.volumes.preprocessing import PreprocessConfig, check_slices_fit
from hyperct_pipeline.volumes.slices import SliceConfig, triplets
from hyperct_pipeline.volumes.store import VolumeStore
from hyperct_pipeline.volumes.volume import Volume

CONF = Path(__file__).parents[2] / "conf"


def settings(*environments: str) -> tuple[PreprocessConfig, SliceConfig]:
    files = [yaml.safe_load((CONF / name / "parameters_preprocess.yml").read_text()) for name in environments]
    preprocess = {key: value for file in files for key, value in file["preprocess"].items()}
    slices = {key: value for file in files for key, value in file["slices"].items()}
    return TypeAdapter(PreprocessConfig).validate_python(preprocess), TypeAdapter(SliceConfig).validate_python(slices)


def test_catalog_names() -> None:
    pipeline = create_pipeline()
    assert pipeline.inputs() == {
        "quality_table",
        "nifti",
        "preprocess_rows_done",
        "volume_store_done",
        "params:preprocess",
        "params:study_workers",
    }
    assert pipeline.outputs() == {"volume_store", "preprocess_table"}


@pytest.mark.parametrize("environments", [("base",), ("base", "paper")])
def test_shipped_grid_slices_and_backbone_fit_each_other(environments: tuple[str, ...]) -> None:
    config, slices = settings(*environments)
    files = [yaml.safe_load((CONF / name / "parameters_fit.yml").read_text()) for name in environments]
    img_size = {key: value for file in files for key, value in file["backbone"].items()}["img_size"]
    check_slices_fit(config, slices, tuple(img_size))
    assert config.window_hu == slices.window_hu
    assert config.shape_zyx is not None and slices.n_triplets >= config.shape_zyx[0] // 3


def test_from_quality_table_to_model_input(tmp_path: Path) -> None:
    config, slices = settings("base")
    hu = np.random.default_rng(0).integers(-900, 500, (30, 40, 40)).astype(np.int16)
    volume = Volume(hu, np.diag([2.0, 2.0, 5.0, 1.0]))
    quality = pd.DataFrame({"study_key": ["a", "b"], "verdict": ["accept", "reject"], "reason_codes": ["", "LOW_X"]})
    quality["content_sha256"] = volume.digest()
    nifti = {key: NiftiFile(tmp_path / f"{key}.nii.gz") for key in "ab"}
    write_nifti(volume, nifti["a"].path)
    store = VolumeStore(tmp_path / "store")
    chunks = list(nodes.preprocess_studies(quality, nifti, {}, store, config, ONE_AT_A_TIME))
    assert chunks[0] == ({}, {})  # so that Kedro has a first chunk
    rows = {key: row for _, row_chunk in chunks for key, row in row_chunk.items()}
    table = nodes.preprocess_table(quality, rows)
    assert table["status"].tolist() == ["stored", "refused"] and "b" not in store
    images, mask = triplets(store.get("a").hu, slices, None)
    assert images.shape == (16, 3, 64, 64) and mask.all()
    assert list(nodes.preprocess_studies(quality, nifti, rows, store, config, ONE_AT_A_TIME)) == [({}, {})]
    store.path_of("a").unlink()
    assert len(list(nodes.preprocess_studies(quality, nifti, rows, store, config, ONE_AT_A_TIME))) == 2
