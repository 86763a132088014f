from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from pydantic import TypeAdapter

from hyperct_pipeline.pipelines.preprocess import nodes
from hyperct_pipeline.pipelines.preprocess.pipeline import create_pipeline
from hyperct_pipeline.volumes.preprocessing import PreprocessConfig
from hyperct_pipeline.volumes.slices import SliceConfig, triplets
from hyperct_pipeline.volumes.volume import Volume

CONF = Path(__file__).parents[2] / "conf"


def settings(*environments: str) -> tuple[PreprocessConfig, SliceConfig]:
    files = [yaml.safe_load((CONF / name / "parameters_preprocess.yml").read_text()) for name in environments]
    preprocess = {key: value for file in files for key, value in file["preprocess"].items()}
    slices = {key: value for file in files for key, value in file["slices"].items()}
    return TypeAdapter(PreprocessConfig).validate_python(preprocess), TypeAdapter(SliceConfig).validate_python(slices)


def test_catalog_names() -> None:
    pipeline = create_pipeline()
    assert pipeline.inputs() == {"quality_table", "nifti", "preprocess_rows_done", "params:preprocess"}
    assert pipeline.outputs() == {"volume_store", "preprocess_table"}


@pytest.mark.parametrize("environments", [("base",), ("base", "paper")])
def test_shipped_grid_and_slices_fit_each_other(environments: tuple[str, ...]) -> None:
    config, slices = settings(*environments)
    assert config.window_hu == slices.window_hu
    assert config.shape_zyx is not None and slices.n_triplets >= config.shape_zyx[0] // 3
    assert slices.crop_yx[0] <= config.shape_zyx[1] and slices.crop_yx[1] <= config.shape_zyx[2]


def test_from_quality_table_to_model_input() -> None:
    config, slices = settings("base")
    hu = np.random.default_rng(0).integers(-900, 500, (30, 40, 40)).astype(np.int16)
    quality = pd.DataFrame({"study_key": ["a", "b"], "verdict": ["accept", "reject"], "output_sha256": ["1", "2"]})
    nifti = {key: lambda: Volume(hu, np.diag([2.0, 2.0, 5.0, 1.0])) for key in "ab"}
    chunks = list(nodes.preprocess_studies(quality, nifti, {}, config))
    assert chunks[0] == ({}, {})  # so that Kedro has a first chunk
    stored = {key: volume for volumes, _ in chunks for key, volume in volumes.items()}
    rows = {key: row for _, row_chunk in chunks for key, row in row_chunk.items()}
    table = nodes.preprocess_table(quality, rows)
    assert table["status"].tolist() == ["stored", "refused"] and set(stored) == {"a"}
    images, mask = triplets(stored["a"].hu, slices, None)
    assert images.shape == (16, 3, 64, 64) and mask.all()
    assert list(nodes.preprocess_studies(quality, nifti, rows, config)) == [({}, {})]
