from pathlib import Path

import pandas as pd
import pytest
import yaml
from pydantic import TypeAdapter

from hyperct_pipeline.phantom import PhantomConfig
from hyperct_pipeline.pipelines.phantom import create_pipeline
from hyperct_pipeline.pipelines.phantom.nodes import write_archive

CONF = Path(__file__).parents[2] / "conf"


def settings(environment: str) -> dict[str, object]:
    return dict(yaml.safe_load((CONF / environment / "parameters_phantom.yml").read_text(encoding="utf-8"))["phantom"])


def test_the_pipeline_meets_the_others_only_in_the_catalog() -> None:
    pipeline = create_pipeline()
    assert pipeline.inputs() == {"phantom_folder", "params:phantom"}
    assert pipeline.outputs() == set()  # see write_archive


def test_the_default_file_states_every_setting() -> None:
    config = TypeAdapter(PhantomConfig).validate_python(settings("base"))
    assert set(settings("base")) == set(PhantomConfig.__dataclass_fields__)
    assert config == PhantomConfig()


def test_large_changes_only_the_counts() -> None:
    assert all(key.startswith("n_") for key in settings("large"))
    config = TypeAdapter(PhantomConfig).validate_python(settings("base") | settings("large"))
    assert config.n_development >= 1500


@pytest.mark.parametrize("n_workers", [1])
def test_the_node_writes_images_and_tables(tmp_path: Path, n_workers: int) -> None:
    config = PhantomConfig(
        n_development=2, n_internal_test=0, n_external_test=1, n_prospective_a=0, n_prospective_b=0,
        n_broken=1, n_unlabelled=0, matrix=32, n_workers=n_workers,
    )  # fmt: skip
    write_archive(tmp_path / "phantom", config)
    truth, ct_rate, wide, metric, cohorts = (
        pd.read_csv(tmp_path / "phantom" / "labels" / f"{name}.csv", dtype=str)
        for name in ("truth", "ct_rate", "hyperct_wide", "echo_metric", "cohorts")
    )
    assert len(truth) == 4 and len(cohorts) == 4
    assert {p.suffix for p in (tmp_path / "phantom" / "dicom" / "site_a").rglob("*") if p.is_file()} == {".dcm"}
    assert set(ct_rate["VolumeName"].str.rsplit("_", n=1).str[0]) == set(truth["accession_number"])
    assert set(wide["patient_id"]) | set(metric["patient_id"]) <= set(cohorts["id"])
