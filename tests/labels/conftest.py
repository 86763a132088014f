"""The shipped catalogue and sources, as every label test uses them."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from hyperct_pipeline.labels.sources import LabelSourcesConfig, load_sources
from hyperct_pipeline.labels.tasks import TaskCatalogue, load_catalogue

CONF = Path(__file__).parents[2] / "conf" / "base"


@pytest.fixture
def catalogue_yaml() -> dict[str, Any]:
    """`params:task_catalogue` as it stands in the file; each test may change its own copy."""
    return yaml.safe_load((CONF / "parameters_tasks.yml").read_text(encoding="utf-8"))["task_catalogue"]


@pytest.fixture
def sources_yaml() -> dict[str, Any]:
    return yaml.safe_load((CONF / "parameters_sources.yml").read_text(encoding="utf-8"))["label_sources"]


@pytest.fixture
def catalogue(catalogue_yaml: dict[str, Any]) -> TaskCatalogue:
    return load_catalogue(catalogue_yaml)


@pytest.fixture
def sources(sources_yaml: dict[str, Any], catalogue: TaskCatalogue) -> LabelSourcesConfig:
    return load_sources(sources_yaml, catalogue)
