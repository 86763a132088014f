"""The pipeline as registered, on small tables, with the shipped parameters."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from pydantic import TypeAdapter

from hyperct_pipeline.datasets import FigureFile
from hyperct_pipeline.labels.sources import LabelSourcesConfig
from hyperct_pipeline.labels.study_index import HarmonizeConfig
from hyperct_pipeline.labels.tasks import TaskCatalogueConfig
from hyperct_pipeline.pipelines.harmonize import create_pipeline
from hyperct_pipeline.pseudonyms import DEMO_SECRET, Pseudonyms

CONF = Path(__file__).parents[2] / "conf" / "base"
GROUPS = {
    "task_catalogue": ("parameters_tasks.yml", TaskCatalogueConfig),
    "label_sources": ("parameters_sources.yml", LabelSourcesConfig),
    "harmonize": ("parameters_harmonize.yml", HarmonizeConfig),
}


@pytest.fixture
def inputs() -> dict[str, Any]:
    ids = [f"train_{k}" for k in range(12)]
    cohorts = pd.DataFrame({"id": ids}, dtype="str").assign(
        id_type="patient_id", site="A", cohort="development", split="", sex="F", age_years="50"
    )
    tables = {
        "ct_rate": pd.DataFrame({"VolumeName": [f"{i}_a_1.nii.gz" for i in ids], "Emphysema": ["1", "0", ""] * 4}),
        "hyperct_wide": pd.DataFrame({"patient_id": ids, "echo_date": "2024-01-01", "ECHO_lvef_value": "45"}),
    }
    given: dict[str, object] = {
        "label_tables": tables,
        "cohorts": cohorts,
        "pseudonyms": Pseudonyms(DEMO_SECRET),
        "conversion_manifest": pd.DataFrame(),
        "preprocess_table": pd.DataFrame(),
        "earlier_splits": pd.DataFrame(),
    }
    for name, (file, config) in GROUPS.items():
        written = yaml.safe_load((CONF / file).read_text(encoding="utf-8"))
        given[f"params:{name}"] = TypeAdapter(config).validate_python(written[name])
    return {name: MemoryDataset(value, copy_mode="assign") for name, value in given.items()}


def test_needs_only_tables(inputs: dict[str, Any], tmp_path: Path) -> None:
    pipeline = create_pipeline()
    # the page embeds the files that were saved
    inputs |= {
        "label_prevalence": FigureFile(str(tmp_path / "prevalence.png"), dpi=30),
        "label_figures": FigureFile(str(tmp_path / "figures"), dpi=30),
    }
    # the index is handed on, so the runner lets go of it unless its node runs alone
    labelling = SequentialRunner().run(pipeline.only_nodes("harmonize_labels"), DataCatalog(dict(inputs)))
    outputs = SequentialRunner().run(pipeline, DataCatalog(dict(inputs))) | labelling
    index = outputs["study_index"].load()
    assert index["emphysema"].value_counts(dropna=False).to_dict() == {1: 4, 0: 4, pd.NA: 4}
    assert set(index["split"]) == {"train", "validation"}
    assert len(outputs["labels"].load()) == 12 * 25 * 2
    assert outputs["cohort_flow"].load()["without_image"].tolist() == [12]
    assert outputs["split_assignments"].load()["patient_key"].nunique() == 12
    page = outputs["harmonization_page"].load()
    assert "12 studies, 12 of them eligible; 25 tasks under the definition set <strong>hyperct" in page
    assert page.count("data:image/png;base64") == 4
    assert 'src="http' not in page


def test_report_has_every_section(inputs: dict[str, Any]) -> None:
    outputs = SequentialRunner().run(create_pipeline().only_nodes("harmonize_labels"), DataCatalog(dict(inputs)))
    report = outputs["harmonization_report"].load()
    assert set(report["section"]) == {"source", "task", "split", "eligibility", "few_positives"}
