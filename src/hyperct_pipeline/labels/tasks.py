"""The task catalogue: what each label means, read from configuration and checked as a whole before any use."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from dataclasses import field, fields, replace
from typing import Any, Literal

from pydantic import ConfigDict, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import ArgsKwargs

from hyperct_pipeline.errors import ConfigError
from hyperct_pipeline.labels.quantities import Quantity, ratio_factor
from hyperct_pipeline.labels.rule_text import parse_rule
from hyperct_pipeline.labels.rules import FindingPresent, OrRule, Rule, inputs
from hyperct_pipeline.labels.spelling import nearest
from hyperct_pipeline.labels.valid_part import Loc, ValidPart, valid_part

Group = Literal["radiological", "cardiac"]
_RATIO = re.compile(r"^(\w+) / (\w+)$")


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class TaskConfig:
    """One task; its id is the key it stands under."""

    group: Group
    name: str  # readable name for figures and the report
    positive_when: str | dict[str, Any]  # "name op number unit" | "name in group" | "finding present" | tree
    reference: str = ""  # where the rule comes from
    overlaps: tuple[str, ...] = ()  # tasks that share inputs, so labels are not independent


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class DefinitionSetConfig:
    """One complete set of definitions."""

    description: str
    tasks: dict[str, TaskConfig]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class TaskCatalogueConfig:
    """`params:task_catalogue`; in the file each definition set is a key of its own, such as `hyperct`."""

    definition_set: str  # the set that labels are made with
    quantities: dict[str, Quantity]
    definition_sets: dict[str, DefinitionSetConfig]  # every further key of the file that holds `tasks`
    derivations: dict[str, str] | None = None  # quantity -> "a / b", used where it was not measured itself
    or_rule: OrRule = "kleene"
    tasks: Literal["all"] | tuple[str, ...] = "all"  # which tasks of the set, in this order

    @model_validator(mode="before")
    @classmethod
    def _gather_sets(cls, values: Any) -> Any:
        """Keys that hold `tasks` are definition sets; Kedro-Viz gives all keys as arguments of the constructor."""
        if isinstance(values, ArgsKwargs) and not values.args:
            values = values.kwargs or {}
        if not isinstance(values, Mapping):
            return values
        own = {entry.name for entry in fields(cls)}
        sets = {k: v for k, v in values.items() if k not in own and isinstance(v, Mapping) and "tasks" in v}
        rest = {k: v for k, v in values.items() if k not in sets}
        return rest | {"definition_sets": {**(values.get("definition_sets") or {}), **sets}} if sets else rest


@plain_dataclass(frozen=True)
class Task:
    """One label: its id, group, readable name, rule, and the source of the rule."""

    id: str
    group: Group
    name: str
    rule: Rule
    reference: str
    overlaps: tuple[str, ...]

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the quantities and findings its rule reads."""
        return inputs(self.rule)


@plain_dataclass(frozen=True)
class Ratio:
    """Derived quantity numerator / denominator; `factor` brings it into the quantity's canonical unit."""

    numerator: str
    denominator: str
    factor: float


@plain_dataclass(frozen=True)
class TaskCatalogue:
    """The checked tasks of one definition set, in the order of the configuration."""

    definition_set: str
    tasks: tuple[Task, ...]
    quantities: Mapping[str, Quantity]
    derivations: Mapping[str, Ratio]
    or_rule: OrRule
    # every definition set, with the same tasks in the same order; a task that a set lacks is left out
    sets: Mapping[str, tuple[Task, ...]] = field(default_factory=dict)
    known_findings: tuple[str, ...] = ()  # of all sets, also those of tasks that are not in use

    def under(self, definition_set: str) -> "TaskCatalogue":
        """The same tasks as another definition set defines them."""
        return replace(self, definition_set=definition_set, tasks=self.sets[definition_set])

    @property
    def ids(self) -> tuple[str, ...]:
        """Task ids in order."""
        return tuple(task.id for task in self.tasks)

    @property
    def findings(self) -> tuple[str, ...]:
        """Ids of the tasks that a source states as present or absent."""
        return tuple(task.id for task in self.tasks if isinstance(task.rule, FindingPresent))

    def group_of(self, task_id: str) -> Group:
        """`radiological` or `cardiac`."""
        return self._task(task_id).group

    def name_of(self, task_id: str) -> str:
        """The readable name."""
        return self._task(task_id).name

    def _task(self, task_id: str) -> Task:
        found = next((task for task in self.tasks if task.id == task_id), None)
        if found is None:
            raise ConfigError(f"Unknown task '{task_id}'{nearest(task_id, self.ids)}.")
        return found


def load_catalogue(config: "TaskCatalogueConfig | TaskCatalogue | Mapping[str, Any]") -> TaskCatalogue:
    """Check a configuration and return its tasks.

    Args:
        config: `params:task_catalogue` as checked config or as a mapping (that of the whole YAML file will do); a
            catalogue is returned as it is.

    Raises:
        ConfigError: with every problem found, each with its key.
    """
    if isinstance(config, TaskCatalogue):
        return config
    read = read_catalogue(config)
    if read.problems or read.config is None:
        raise ConfigError(listed_problems(read.problems))
    return read.config


def listed_problems(problems: Sequence[str]) -> str:
    """The message about a catalogue."""
    listed = "\n  ".join(f"task_catalogue.{problem}" for problem in problems)
    return f"{len(problems)} problems in the task catalogue (parameters_tasks.yml):\n  {listed}"


def read_catalogue(config: "TaskCatalogueConfig | Mapping[str, Any]") -> ValidPart[TaskCatalogue]:
    """The tasks as far as they can be understood, and every problem with its key.

    Args:
        config: as for `load_catalogue`.
    """
    if not isinstance(config, Mapping):
        catalogue, problems = _understood(config)
        return ValidPart(catalogue, tuple(problems))
    part = valid_catalogue_part(config.get("task_catalogue", config))
    if part.config is None:
        return ValidPart(None, part.problems)
    catalogue, problems = _understood(part.config)
    return ValidPart(catalogue, (*part.problems, *part.without_echoes(problems)), part.left_out)


def valid_catalogue_part(raw: Mapping[str, Any]) -> ValidPart[TaskCatalogueConfig]:
    """The catalogue without the quantities and tasks whose form is wrong."""
    part = valid_part(TaskCatalogueConfig, raw, _entry)
    return replace(part, problems=tuple(p.removeprefix("definition_sets.") for p in part.problems))


def _entry(loc: Loc, raw: Mapping[str, Any]) -> Loc:
    """A quantity or a task."""
    if loc[0] == "quantities" and len(loc) > 1:
        return loc[:2]
    if loc[0] == "definition_sets" and len(loc) > 3 and loc[2] == "tasks":
        return loc[1:4] if loc[1] in raw else loc[:4]
    return ()


def _understood(config: TaskCatalogueConfig) -> tuple[TaskCatalogue, list[str]]:
    problems = [
        f"quantities.{name}: {problem}"
        for name, quantity in config.quantities.items()
        for problem in quantity.problems()
    ]
    ratios = _ratios(config, problems)
    # every set is checked, also those not in use: a broken one must not wait for the day it is chosen
    sets = {name: _tasks(name, config, problems) for name in config.definition_sets}
    if config.definition_set in sets:
        chosen = _subset(config, sets[config.definition_set], problems)
    else:
        chosen, known = (), tuple(config.definition_sets)
        problems.append(f"definition_set: unknown set '{config.definition_set}'{nearest(config.definition_set, known)}")
    ids = tuple(task.id for task in chosen)
    same = {name: tuple(tasks[t] for t in ids if t in tasks) for name, tasks in sets.items()}
    return TaskCatalogue(
        config.definition_set, chosen, config.quantities, ratios, config.or_rule, same, _findings(config, sets)
    ), problems


def _findings(config: TaskCatalogueConfig, sets: Mapping[str, Mapping[str, Task]]) -> tuple[str, ...]:
    """Findings of all sets; a task whose rule cannot be read may be one."""
    every: dict[str, None] = {}
    for name, written in config.definition_sets.items():
        for task_id in written.tasks:
            task = sets[name].get(task_id)
            if task is None or isinstance(task.rule, FindingPresent):
                every[task_id] = None
    return tuple(every)


def _tasks(set_name: str, config: TaskCatalogueConfig, problems: list[str]) -> dict[str, Task]:
    tasks = {}
    known = tuple(config.definition_sets[set_name].tasks)
    for task_id, entry in config.definition_sets[set_name].tasks.items():
        where = f"{set_name}.tasks.{task_id}"
        found = [f"overlaps: unknown task '{o}'{nearest(o, known)}" for o in entry.overlaps if o not in known]
        try:
            rule = parse_rule(entry.positive_when, task_id, config.quantities)
        except ValueError as error:
            found.append(f"positive_when: {error}")
        else:
            tasks[task_id] = Task(task_id, entry.group, entry.name, rule, entry.reference, entry.overlaps)
        problems.extend(f"{where}.{problem}" for problem in found)
    return tasks


def _subset(config: TaskCatalogueConfig, tasks: Mapping[str, Task], problems: list[str]) -> tuple[Task, ...]:
    if config.tasks == "all":
        return tuple(tasks.values())
    known = tuple(config.definition_sets[config.definition_set].tasks)
    if not config.tasks:
        problems.append("tasks: the list is empty; write 'all' or name at least one task")
    problems.extend(f"tasks: unknown task '{t}'{nearest(t, known)}" for t in config.tasks if t not in known)
    problems.extend(f"tasks: '{t}' stands twice" for t in set(config.tasks) if config.tasks.count(t) > 1)
    return tuple(tasks[task_id] for task_id in config.tasks if task_id in tasks)


def _ratios(config: TaskCatalogueConfig, problems: list[str]) -> dict[str, Ratio]:
    ratios = {}
    for name, text in (config.derivations or {}).items():
        match = _RATIO.match(text)
        parts = [config.quantities.get(part) for part in (name, *(match.groups() if match else ()))]
        if len(parts) != 3 or any(part is None or part.unit is None for part in parts):
            problems.append(f"derivations.{name}: expected 'a / b' of quantities with units, found '{text}'")
            continue
        assert match is not None
        target, above, below = (str(part.unit) for part in parts if part is not None)
        try:
            factor = ratio_factor(above, below, target)
        except ValueError as error:
            problems.append(f"derivations.{name}: {error}")
            continue
        ratios[name] = Ratio(match.group(1), match.group(2), factor)
    return ratios
