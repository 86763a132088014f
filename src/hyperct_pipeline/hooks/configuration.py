"""Every parameter is checked against the type its node declares before any node runs.

Kedro's own check stops at the first level of a plain dataclass and names no file; this one goes all the way down,
refuses unknown keys, and lists all errors at once with the file and key to edit.
"""

import dataclasses
import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.validation.type_extractor import TypeExtractor
from pydantic import TypeAdapter, ValidationError

from hyperct_pipeline.errors import ConfigError
from hyperct_pipeline.evaluation.examples import ExplainConfig
from hyperct_pipeline.hooks.broken_yaml import read_parameters
from hyperct_pipeline.hooks.published_setting import warn_of_departures
from hyperct_pipeline.hooks.training_node import TRAINING
from hyperct_pipeline.labels.sources import LabelSourcesConfig, read_sources, valid_sources_part
from hyperct_pipeline.labels.sources import listed_problems as sources_message
from hyperct_pipeline.labels.tasks import TaskCatalogueConfig, read_catalogue, valid_catalogue_part
from hyperct_pipeline.labels.tasks import listed_problems as tasks_message
from hyperct_pipeline.labels.valid_part import ValidPart
from hyperct_pipeline.model.settings import BackboneConfig, HyperCTConfig
from hyperct_pipeline.training.published_setting import PUBLISHED
from hyperct_pipeline.volumes.preprocessing import PreprocessConfig, check_slices_fit
from hyperct_pipeline.volumes.slices import SliceConfig

T = TypeVar("T")
_ABSENT = object()
RUNTIME_REFERENCE = re.compile(r"\$\{runtime_params:\s*([\w.]+)")
PHANTOM_DEFAULT = re.compile(r"\$\{runtime_params:\s*([\w.]+),\s*\$\{_phantom\}")
TABLES = "labels"
LABELS = f"{TABLES}."


class ConfigurationHook:
    """Replaces the raw parameters by checked ones, or stops the run; warns where a training is half as published."""

    def __init__(self) -> None:
        self._places: ParameterPlaces | None = None

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Check all parameters of all registered pipelines.

        Raises:
            ConfigError: listing each unknown key, wrong type and impossible value with its file.
        """
        types = TypeExtractor(dict(pipelines)).extract_types_from_pipelines()
        loader, runtime = context.config_loader, context.config_loader.runtime_params or {}
        places = ParameterPlaces(Path(loader.conf_source), context.env, runtime)
        paths = places.given_paths(set(types))
        loader.runtime_params = {name: value for name, value in runtime.items() if name not in paths}
        raw = read_parameters(loader, places.folders)
        loader["parameters"] = checked_parameters(raw, types, places)
        loader.runtime_params = without_phantom(paths, places)
        self._places = places

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: CatalogProtocol[Any, Any]) -> None:
        """Say which keys of a training stand against `model.mode: reference`, before any data is touched."""
        if self._places is not None and any(node.name == TRAINING for node in pipeline.nodes):
            groups = {group: catalog[f"params:{group}"].load() for group in PUBLISHED}
            warn_of_departures(groups, self._places.name_of)


@dataclasses.dataclass(frozen=True)
class ParameterPlaces:
    """Where parameters come from, to name the file in an error.

    Attributes:
        conf_source: the project's `conf` folder.
        env: the Kedro environment on top of `base`, or None for the default `local`.
        runtime: what was given as `--params`.
    """

    conf_source: Path
    env: str | None
    runtime: Mapping[str, Any]

    @property
    def folders(self) -> tuple[Path, Path]:
        """The folder of the environment and that of `base`."""
        return self.conf_source / (self.env or "local"), self.conf_source / "base"

    def name_of(self, key: tuple[str | int, ...]) -> str:
        """The place that sets `key` and wins: `--params`, a file of the environment, or a file of `base`.

        An error of a whole group can come from any of its places, so all are named.
        """
        found = [(place, _get(tree, key)) for place, tree in self._trees()]
        setting = [(place, value) for place, value in found if value is not _ABSENT]
        if not setting:
            return self.name_of(key[:-1]) if len(key) > 1 else "conf"
        if isinstance(setting[0][1], Mapping):
            return " + ".join(place for place, _ in setting)
        return setting[0][0]

    def _trees(self) -> Iterator[tuple[str, Any]]:
        yield "--params", self.runtime
        for folder in self.folders:
            for file in sorted(folder.glob("**/parameters*.yml")):
                yield file.relative_to(self.conf_source.parent).as_posix(), yaml.safe_load(file.read_text()) or {}

    def given_paths(self, groups: set[str]) -> dict[str, Any]:
        """The part of `--params` that names folders and files, as the catalog reads it.

        `model` is both a group of parameters (model.rank=4) and a path (model=PATH), told apart by its shape.
        """
        tops = {name.split(".")[0] for name in self.path_names()}
        return {
            name: value
            for name, value in self.runtime.items()
            if name in tops and not (name in groups and isinstance(value, Mapping))
        }

    def path_names(self, pattern: re.Pattern[str] = RUNTIME_REFERENCE) -> set[str]:
        """Names that catalog files read from `--params`, such as `data_root` and `labels.ct_rate`."""
        files = self.conf_source.glob("*/catalog*.yml")
        return {name for file in files for name in pattern.findall(file.read_text())}


def checked_parameters(raw: Mapping[str, Any], types: Mapping[str, Any], places: ParameterPlaces) -> dict[str, Any]:
    """Return `raw` with each group replaced by the fields of its checked config object.

    Args:
        raw: the merged parameters, as read from YAML and `--params`.
        types: parameter group -> the config class its node declares.
        places: to name the file of each error.

    Raises:
        ConfigError: with one line per error.
    """
    known = set(types) | places.path_names()
    if TABLES in known:
        known |= {f"{LABELS}{name}" for name in _label_tables(raw)}
    given = _leaves(places.given_paths(set(types)))
    errors = []
    errors += _label_path_problems(places.runtime)
    errors += [_unknown(name, known, places) for name in (*raw, *given) if name not in known]
    checked: dict[str, Any] = {}
    for name, config_class in types.items():
        if name not in raw:
            errors.append(f"{name}: missing; expected a group of keys in conf/base/parameters_*.yml")
            continue
        try:
            config = TypeAdapter(config_class).validate_python(raw[name])
        except ValidationError as error:
            errors.extend(_messages(name, error, places))
        else:
            checked[name] = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    errors += _mismatches(checked, types)
    errors += _label_problems(raw, checked, types)
    if errors:
        raise ConfigError("The configuration has errors; no node was run.\n" + "\n".join(f"- {e}" for e in errors))
    return checked


def _label_path_problems(runtime: Mapping[str, Any]) -> list[str]:
    """What is wrong with the paths of the label tables; the values are not shown, they may be paths of patients."""
    nested = runtime.get(TABLES)
    if TABLES in runtime and not isinstance(nested, Mapping):
        return [f"--params: {TABLES}: names no source; expected {LABELS}<source>=PATH"]
    given = dict(nested or {}) | {k.removeprefix(LABELS): v for k, v in runtime.items() if k.startswith(LABELS)}
    return [
        f"--params: {LABELS}{name}: expected the path of one file, found a {type(path).__name__}"
        for name, path in given.items()
        if path is not None and not isinstance(path, str)
    ]


def _label_tables(raw: Mapping[str, Any]) -> frozenset[str]:
    """Names of all tables that some label source reads; none where the sources are wrong, which is said elsewhere."""
    try:
        sources = TypeAdapter(LabelSourcesConfig).validate_python(raw.get("label_sources"))
    except ValidationError:
        return frozenset()
    return frozenset(sources.sources) | sources.extra_tables


def _mismatches(checked: Mapping[str, Mapping[str, Any]], types: Mapping[str, Any]) -> list[str]:
    """What single groups cannot see: grid, crop and backbone must fit each other, label sources the tasks."""
    checks: dict[tuple[str, ...], Callable[..., None]] = {
        ("preprocess", "slices", "backbone"): _check_shapes,
        ("backbone", "model"): _check_adapted_blocks,
        ("task_catalogue", "explain"): _check_explained,
    }
    errors = []
    for groups, check in checks.items():
        if all(group in checked for group in groups):
            try:
                check(*(types[group](**checked[group]) for group in groups))
            except (ConfigError, ValueError) as error:
                errors.append(str(error))
    return errors


def _check_shapes(preprocess: PreprocessConfig, slices: SliceConfig, backbone: BackboneConfig) -> None:
    check_slices_fit(preprocess, slices, backbone.img_size)


def _check_adapted_blocks(backbone: BackboneConfig, model: HyperCTConfig) -> None:
    if backbone.depth is not None and model.adapt_from_block >= backbone.depth:
        raise ConfigError(
            f"model.adapt_from_block is {model.adapt_from_block}, but backbone.depth is {backbone.depth}: no block is "
            "left to adapt"
        )


def _label_problems(
    raw: Mapping[str, Any], checked: Mapping[str, Mapping[str, Any]], types: Mapping[str, Any]
) -> list[str]:
    """What is wrong with tasks and sources beyond their form; a mistake of form in one entry hides none of another."""

    def part(name: str, config_class: type[T], valid: Callable[[Mapping[str, Any]], ValidPart[T]]) -> ValidPart[T]:
        if name in checked:
            return ValidPart(config_class(**checked[name]))
        sound = name in types and isinstance(raw.get(name), Mapping)
        return valid(raw[name]) if sound else ValidPart(None)

    tasks = part("task_catalogue", TaskCatalogueConfig, valid_catalogue_part)
    if tasks.config is None:
        return []
    read = read_catalogue(tasks.config)
    problems = tasks.without_echoes(read.problems)
    errors = [tasks_message(problems)] if problems else []
    sources = part("label_sources", LabelSourcesConfig, valid_sources_part)
    if sources.config is not None:
        found = tasks.without_echoes(sources.without_echoes(read_sources(sources.config, read.config)[1]))
        errors += [sources_message(found)] if found else []
    return errors


def _check_explained(tasks: TaskCatalogueConfig, explain: ExplainConfig) -> None:
    read = read_catalogue(tasks)
    if read.problems or read.config is None:
        return  # said elsewhere
    known = read.config.ids
    if unknown := [task for task in explain.tasks if task not in (*known, "all")]:
        raise ConfigError(f"explain.tasks: {unknown} are no tasks; there are {', '.join(known)}")


def _messages(group: str, error: ValidationError, places: ParameterPlaces) -> Iterator[str]:
    for item in error.errors(include_url=False):
        # pydantic adds the names of union branches and validators; keep what stands in the YAML
        key = (group, *(part for part in item["loc"] if "[" not in str(part) and part != "definition_sets"))
        found = "" if item["type"] == "missing" else f" (found {item['input']!r:.80})"
        text = "unknown key" if "unexpected" in item["type"] or "extra" in item["type"] else item["msg"]
        yield f"{places.name_of(key)}: {'.'.join(map(str, key))}: {text}{found}"


def without_phantom(paths: Mapping[str, Any], places: ParameterPlaces) -> dict[str, Any]:
    """`paths`, where one named raw input makes every other one None that would else be the phantom's.

    So a hospital's own images never meet synthetic labels, or the other way round.
    """
    synthetic = places.path_names(PHANTOM_DEFAULT)
    given = _leaves(paths)
    merged = {name: dict(value) if isinstance(value, Mapping) else value for name, value in paths.items()}
    if not any(name in synthetic or name.startswith(LABELS) for name in given):
        return merged
    for name in synthetic - given.keys():
        top, _, rest = name.partition(".")
        if rest:
            merged.setdefault(top, {})[rest] = None
        else:
            merged[top] = None
    return merged


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by their dotted name."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        leaves |= _leaves(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return leaves


def _unknown(name: str, known: set[str], places: ParameterPlaces) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else f"; known are {', '.join(sorted(known))}"
    return f"{places.name_of(tuple(name.split('.')))}: {name}: unknown parameter{hint}"


def _get(tree: Any, key: tuple[str | int, ...]) -> Any:
    for part in key:
        in_list = isinstance(tree, list) and isinstance(part, int) and part < len(tree)
        if in_list or (isinstance(tree, Mapping) and part in tree):
            tree = tree[part]
        else:
            return _ABSENT
    return tree
