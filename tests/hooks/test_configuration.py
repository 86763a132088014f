"""Parameters are refused before any node, naming file and key."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import yaml
from kedro.config import OmegaConfigLoader
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as pydantic_dataclass

from hyperct_pipeline.errors import ConfigError
from hyperct_pipeline.evaluation.examples import ExplainConfig
from hyperct_pipeline.hooks import configuration
from hyperct_pipeline.hooks.configuration import ParameterPlaces, checked_parameters, without_phantom
from hyperct_pipeline.labels.sources import LabelSourcesConfig
from hyperct_pipeline.labels.tasks import TaskCatalogueConfig
from hyperct_pipeline.model.settings import BackboneConfig, HyperCTConfig
from hyperct_pipeline.volumes.preprocessing import PreprocessConfig
from hyperct_pipeline.volumes.slices import SliceConfig


@dataclass(frozen=True)
class FitSettings:
    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}
    lr: float
    crop: tuple[int, int] = (2, 2)

    def __post_init__(self) -> None:
        if self.lr <= 0:
            raise ValueError("lr must be positive")


@pydantic_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Rule:
    minimum: int = Field(ge=1)


@pydantic_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class QualitySettings:
    slices: Rule


TYPES = {"fit": FitSettings, "quality": QualitySettings}
GOOD = {"fit": {"lr": 0.1, "crop": [3, 4]}, "quality": {"slices": {"minimum": 5}}}


@pytest.fixture
def places(tmp_path: Path) -> ParameterPlaces:
    base, paper = tmp_path / "conf" / "base", tmp_path / "conf" / "paper"
    base.mkdir(parents=True)
    paper.mkdir()
    (base / "parameters_fit.yml").write_text("fit: {lr: 0.1, crop: [3, 4]}\n")
    (base / "parameters_quality.yml").write_text("quality: {slices: {minimum: 5}}\n")
    (paper / "parameters_fit.yml").write_text("fit: {lr: 0.2}\n")
    (base / "catalog.yml").write_text("_root: ${runtime_params:data_root, data}\n")
    return ParameterPlaces(tmp_path / "conf", "paper", {"fit": {"crop": [1, 1]}})


def test_checked_values_have_the_declared_types(places: ParameterPlaces) -> None:
    checked = checked_parameters(GOOD, TYPES, places)
    assert checked["fit"] == {"lr": 0.1, "crop": (3, 4)}
    assert checked["quality"] == {"slices": Rule(minimum=5)}


def test_the_winning_place_is_named(places: ParameterPlaces) -> None:
    assert places.name_of(("fit", "crop")) == "--params"
    assert places.name_of(("fit", "lr")) == "conf/paper/parameters_fit.yml"
    assert places.name_of(("quality", "slices", "minimum")) == "conf/base/parameters_quality.yml"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"fit": {"lr": "fast"}}, r"conf/paper/parameters_fit.yml: fit.lr: .*number.*found 'fast'"),
        ({"fit": {"lr": 0.1, "lrr": 1}}, r"fit.lrr: unknown key"),
        (
            {"fit": {"lr": -1.0}},
            r"--params \+ conf/paper/parameters_fit.yml \+ conf/base/parameters_fit.yml: fit: .*lr must be positive",
        ),
        ({"fit": {"crop": [3, 4]}}, r"fit.lr: .*required"),
        ({"quality": {"slices": {"minimum": 0}}}, r"parameters_quality.yml: quality.slices.minimum: .*found 0"),
        ({"quality": {"slices": {"minimum": 5, "max": 1}}}, r"quality.slices.max: unknown key"),
        ({"qualty": {}}, r"qualty: unknown parameter; did you mean 'quality'"),
    ],
)
def test_each_error_names_file_and_key(places: ParameterPlaces, change: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        checked_parameters(GOOD | change, TYPES, places)


def test_all_errors_are_listed_at_once(places: ParameterPlaces) -> None:
    with pytest.raises(ConfigError) as caught:
        checked_parameters({"fit": {"lr": "fast"}, "quality": {"slices": {}}}, TYPES, places)
    assert "fit.lr" in str(caught.value)
    assert "quality.slices.minimum" in str(caught.value)


def test_one_name_can_be_a_path_and_a_group(places: ParameterPlaces, monkeypatch: pytest.MonkeyPatch) -> None:
    (places.conf_source / "base" / "catalog.yml").write_text(
        "a: ${runtime_params:fit, x}\nb: ${runtime_params:data_root, y}\n"
    )
    monkeypatch.setattr(configuration, "pipelines", {})
    monkeypatch.setattr(configuration.TypeExtractor, "extract_types_from_pipelines", lambda _: TYPES)

    def seen_by_catalog(runtime: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        loader = OmegaConfigLoader(
            str(places.conf_source),
            "paper",
            runtime,
            base_env="base",
            default_run_env="local",
            merge_strategy={"parameters": "soft"},
        )
        configuration.ConfigurationHook().after_context_created(SimpleNamespace(config_loader=loader, env="paper"))
        return loader["catalog"], loader["parameters"]["fit"]

    fit = {"lr": 0.2, "crop": (3, 4)}
    assert seen_by_catalog({"fit": "PATH", "data_root": "d"}) == ({"a": "PATH", "b": "d"}, fit)
    assert seen_by_catalog({"fit": {"lr": 0.3}}) == ({"a": "x", "b": "y"}, fit | {"lr": 0.3})


def test_groups_that_do_not_fit_each_other_are_refused(places: ParameterPlaces) -> None:
    types = {"preprocess": PreprocessConfig, "slices": SliceConfig, "backbone": BackboneConfig}
    good = {
        "preprocess": {"shape_zyx": [8, 64, 64]},
        "slices": {"crop_yx": [48, 48]},
        "backbone": {"img_size": [48, 48]},
    }
    assert checked_parameters(good, types, places)["slices"]["crop_yx"] == (48, 48)
    with pytest.raises(ConfigError, match=r"slices\.crop_yx \(32, 32\) must equal backbone\.img_size \(48, 48\)"):
        checked_parameters(good | {"slices": {"crop_yx": [32, 32]}}, types, places)


def shipped_labels(places: ParameterPlaces) -> dict[str, Any]:
    files = [Path(__file__).parents[2] / "conf" / "base" / f"parameters_{name}.yml" for name in ("tasks", "sources")]
    for file in files:
        (places.conf_source / "base" / file.name).write_text(file.read_text(encoding="utf-8"))
    tasks, sources = (yaml.safe_load(file.read_text(encoding="utf-8")) for file in files)
    return tasks | sources


LABEL_TYPES = {"task_catalogue": TaskCatalogueConfig, "label_sources": LabelSourcesConfig}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"tasks": ["lung_nodul"]}, r"tasks: unknown task 'lung_nodul'; nearest known: 'lung_nodule'"),
        ({"definition_set": "hyperctt"}, r"definition_set: unknown set 'hyperctt'; nearest known: 'hyperct'"),
    ],
)
def test_an_unknown_task_is_refused_before_any_node(
    places: ParameterPlaces, change: dict[str, Any], expected: str
) -> None:
    raw = shipped_labels(places)
    one = raw | {"task_catalogue": raw["task_catalogue"] | {"tasks": ["emphysema"]}}
    checked = checked_parameters(one, LABEL_TYPES, places)
    assert checked["task_catalogue"]["tasks"] == ("emphysema",)
    with pytest.raises(ConfigError, match=expected):
        checked_parameters(raw | {"task_catalogue": raw["task_catalogue"] | change}, LABEL_TYPES, places)


def test_an_explained_task_that_is_unknown_is_refused_before_any_node(places: ParameterPlaces) -> None:
    raw = shipped_labels(places)
    types = LABEL_TYPES | {"explain": ExplainConfig}
    assert checked_parameters(raw | {"explain": {"tasks": ["emphysema"]}}, types, places)
    with pytest.raises(
        ConfigError, match=r"explain\.tasks: \['pneumonia'\] are no tasks; there are medical_material, "
    ):
        checked_parameters(raw | {"explain": {"tasks": ["all", "pneumonia"]}}, types, places)


def test_problems_of_tasks_and_sources_are_listed_together_and_once(places: ParameterPlaces) -> None:
    raw = shipped_labels(places)
    tasks, sources = raw["task_catalogue"]["hyperct"]["tasks"], raw["label_sources"]["sources"]
    tasks["emphysema"] = tasks["emphysema"] | {"positve_when": "x"}
    tasks["pulmonary_hypertension"]["positive_when"] = "pasp > 35"
    sources["ct_rate"]["colums"] = {}
    sources["hyperct_wide"]["columns"]["lvef"]["unit"] = "kg"
    with pytest.raises(ConfigError) as caught:
        checked_parameters(raw | {"explain": {"tasks": ["all"]}}, LABEL_TYPES | {"explain": ExplainConfig}, places)
    for part in ("positve_when", "'pasp' has the unit mmHg", "colums", "hyperct_wide.columns.lvef.unit: 'kg'"):
        assert str(caught.value).count(part) == 1, part


def test_a_source_of_an_unknown_quantity_is_refused_before_any_node(places: ParameterPlaces) -> None:
    raw = shipped_labels(places)
    raw["label_sources"]["sources"]["echo_metric"]["columns"]["lvff"] = {"names": ["a"], "unit": "percent"}
    with pytest.raises(ConfigError, match=r"echo_metric\.columns\.lvff: unknown quantity; nearest known: 'lvef'"):
        checked_parameters(raw, LABEL_TYPES, places)


CATALOG = """
archive: "${runtime_params:dicom_root, ${_phantom}/dicom}"
cohorts: "${runtime_params:cohorts, ${_phantom}/cohorts.csv}"
ct_rate: "${runtime_params:labels.ct_rate, ${_phantom}/ct_rate.csv}"
echo: "${runtime_params:labels.echo, ${_phantom}/echo.csv}"
other: "${runtime_params:labels.other, null}"
root: "${runtime_params:data_root, data}"
"""


@pytest.fixture
def raw_inputs(places: ParameterPlaces) -> ParameterPlaces:
    (places.conf_source / "base" / "catalog.yml").write_text(CATALOG)
    return places


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {}),
        ({"data_root": "d"}, {"data_root": "d"}),
        ({"dicom_root": "x"}, {"dicom_root": "x", "cohorts": None, "labels": {"ct_rate": None, "echo": None}}),
        (
            {"labels": {"other": "x"}},
            {"dicom_root": None, "cohorts": None, "labels": {"other": "x", "ct_rate": None, "echo": None}},
        ),
    ],
)
def test_one_named_input_switches_the_phantom_off(
    raw_inputs: ParameterPlaces, given: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert without_phantom(given, raw_inputs) == expected


def test_a_source_of_ones_own_needs_no_entry_in_the_catalog(places: ParameterPlaces) -> None:
    raw = shipped_labels(places)
    (places.conf_source / "base" / "catalog.yml").write_text('labels: "${runtime_params:labels, null}"')
    raw["label_sources"]["sources"]["valley"] = raw["label_sources"]["sources"]["echo_metric"]
    own = ParameterPlaces(places.conf_source, None, {"labels": {"valley": "x", "ct_rate_no_chest": "y"}})
    assert checked_parameters(raw, LABEL_TYPES, own)
    bare = ParameterPlaces(places.conf_source, None, {"labels": "x"})
    with pytest.raises(ConfigError, match=r"labels: names no source; expected labels\.<source>=PATH"):
        checked_parameters(raw, LABEL_TYPES, bare)
    for value, kind in ((5, "int"), (["x/DOE.csv", "y"], "list"), (True, "bool")):
        strange = ParameterPlaces(places.conf_source, None, {"labels": {"valley": value}})
        with pytest.raises(
            ConfigError, match=rf"labels\.valley: expected the path of one file, found a {kind}"
        ) as told:
            checked_parameters(raw, LABEL_TYPES, strange)
        assert "DOE" not in str(told.value)
    wrong = ParameterPlaces(places.conf_source, None, {"labels": {"valey": "x"}})
    with pytest.raises(ConfigError, match=r"labels\.valey: unknown parameter; did you mean 'labels\.valley'"):
        checked_parameters(raw, LABEL_TYPES, wrong)


def test_definition_sets_are_named_as_they_stand_in_the_file(places: ParameterPlaces) -> None:
    raw = shipped_labels(places)
    raw["task_catalogue"]["ase_2025"]["tasks"]["emphysema"] = {"group": "lung", "name": "x", "positive_when": "y"}
    with pytest.raises(ConfigError, match=r"parameters_tasks\.yml: task_catalogue\.ase_2025\.tasks\.emphysema\.group"):
        checked_parameters(raw, LABEL_TYPES, places)


def test_a_misspelt_input_is_refused_instead_of_replaced_by_the_phantom(raw_inputs: ParameterPlaces) -> None:
    places = ParameterPlaces(raw_inputs.conf_source, None, {"labels": {"ct_rat": "x"}})
    with pytest.raises(
        ConfigError, match=r"--params: labels\.ct_rat: unknown parameter; did you mean 'labels\.ct_rate'"
    ):
        checked_parameters(GOOD, TYPES, places)


def test_adapting_no_block_is_found_before_any_node_runs(places: ParameterPlaces) -> None:
    types = {"backbone": BackboneConfig, "model": HyperCTConfig}
    raw = {"backbone": {"depth": 2}, "model": {"adapt_from_block": 2}}
    with pytest.raises(ConfigError, match=r"adapt_from_block is 2, but backbone\.depth is 2: no block is left"):
        checked_parameters(raw, types, places)
    checked_parameters(raw | {"model": {"adapt_from_block": 1}}, types, places)
