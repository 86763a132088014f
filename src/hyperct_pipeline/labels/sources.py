"""The label sources: read from configuration and checked against the task catalogue before any table is read."""

import datetime
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from hyperct_pipeline.errors import ConfigError, LabelTableError
from hyperct_pipeline.labels.measurement_text import plain
from hyperct_pipeline.labels.quantities import unit_factor
from hyperct_pipeline.labels.source_formats import (
    ColumnConfig,
    EchoFormat,
    EchoLong,
    EchoWide,
    FindingsByLocation,
    FindingsFormat,
    SourceConfig,
    extra_tables,
)
from hyperct_pipeline.labels.spelling import nearest
from hyperct_pipeline.labels.tasks import TaskCatalogue, TaskCatalogueConfig, read_catalogue
from hyperct_pipeline.labels.tasks import listed_problems as tasks_message
from hyperct_pipeline.labels.valid_part import ValidPart, valid_part


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class LabelSourcesConfig:
    """`params:label_sources`: source name -> format of its table."""

    sources: dict[str, SourceConfig]

    def of(self, name: str) -> FindingsFormat | EchoFormat:
        """The format of that name.

        Raises:
            LabelTableError: there is none; lists those there are.
        """
        if name not in self.sources:
            raise LabelTableError(
                f"Unknown label source '{name}'{nearest(name, tuple(self.sources))}. Sources are defined in "
                f"parameters_sources.yml: {', '.join(self.sources)}."
            )
        return self.sources[name]

    @property
    def extra_tables(self) -> frozenset[str]:
        """Names of all tables that are no source of their own."""
        return frozenset(name for source in self.sources.values() for name in extra_tables(source))


def load_sources(config: LabelSourcesConfig | Mapping[str, Any], catalogue: TaskCatalogue) -> LabelSourcesConfig:
    """Check the sources against the catalogue: every quantity, unit, level, finding and pattern must make sense.

    Args:
        config: `params:label_sources` as checked config or as a mapping (that of the whole YAML file will do).
        catalogue: the tasks.

    Raises:
        ConfigError: with every problem found, each with its key.
    """
    checked, problems = read_sources(config, catalogue)
    if problems or checked is None:
        raise ConfigError(listed_problems(problems))
    return checked


def load_definitions(
    catalogue: TaskCatalogue | TaskCatalogueConfig | Mapping[str, Any], config: LabelSourcesConfig | Mapping[str, Any]
) -> tuple[TaskCatalogue, LabelSourcesConfig]:
    """`load_catalogue` and `load_sources`, with the problems of both in one error."""
    tasks = ValidPart(catalogue) if isinstance(catalogue, TaskCatalogue) else read_catalogue(catalogue)
    checked, problems = read_sources(config, tasks.config)
    problems = tasks.without_echoes(problems)
    if tasks.problems or problems or tasks.config is None or checked is None:
        said = [tasks_message(tasks.problems)] if tasks.problems else []
        raise ConfigError("\n".join([*said, *([listed_problems(problems)] if problems else [])]))
    return tasks.config, checked


def listed_problems(problems: Sequence[str]) -> str:
    """The message about the sources."""
    listed = "\n  ".join(f"label_sources.{problem}" for problem in problems)
    return f"{len(problems)} problems in the label sources (parameters_sources.yml):\n  {listed}"


def read_sources(
    config: LabelSourcesConfig | Mapping[str, Any], catalogue: TaskCatalogue | None
) -> tuple[LabelSourcesConfig | None, list[str]]:
    """The sources whose form is right, and every problem with its key.

    Args:
        config: as for `load_sources`.
        catalogue: the tasks; None where they are unknown: only the form is checked then.
    """
    if isinstance(config, LabelSourcesConfig):
        return config, _all_problems(config, catalogue)
    part = valid_sources_part(config.get("label_sources", config))
    if part.config is None:
        return None, list(part.problems)
    return part.config, [*part.problems, *part.without_echoes(_all_problems(part.config, catalogue))]


def valid_sources_part(raw: Mapping[str, Any]) -> ValidPart[LabelSourcesConfig]:
    """The sources without those whose form is wrong."""
    return valid_part(LabelSourcesConfig, raw, lambda loc, _: loc[:2] if loc[0] == "sources" and len(loc) > 1 else ())


def _all_problems(checked: LabelSourcesConfig, catalogue: TaskCatalogue | None) -> list[str]:
    if catalogue is None:
        return []
    problems = [
        f"sources.{name}.{problem}"
        for name, source in checked.sources.items()
        for problem in (
            _echo_problems(source, catalogue)
            if isinstance(source, EchoWide | EchoLong)
            else [*_id_problems(source), *_finding_problems(source, catalogue)]
        )
    ]
    both = checked.extra_tables & set(checked.sources)
    return [*problems, *(f"sources.{name}: is also named as an additional table of a source" for name in sorted(both))]


def _id_problems(source: FindingsFormat) -> list[str]:
    if source.id.pattern is None:
        return []
    try:
        groups = re.compile(source.id.pattern).groupindex
    except re.error as error:
        return [f"id.pattern: no regular expression ({error})"]
    problems = [] if "study" in groups else ["id.pattern: needs the named group (?P<study>...)"]
    if source.official_splits and "split" not in groups:
        problems.append("official_splits: id.pattern needs the named group (?P<split>...)")
    return problems


def _finding_problems(source: FindingsFormat, catalogue: TaskCatalogue) -> list[str]:
    doubled = [
        f"{first} and {second}: '{word}' stands in both"
        for first, second in (("present", "absent"), ("present", "unknown"), ("absent", "unknown"))
        for word in sorted(set(getattr(source, first)) & set(getattr(source, second)))
    ]
    known = catalogue.known_findings
    if isinstance(source, FindingsByLocation):
        named = {name: f"findings.{name}" for name in source.findings}
        empty = [f"findings.{n}.of: empty" for n, f in source.findings.items() if f.match != "unavailable" and not f.of]
        doubled += empty
    elif source.columns != "auto":
        named = {finding: f"columns.{column}" for column, finding in source.columns.items()}
    else:
        named = {}
    strange = [f"{place}: unknown finding '{n}'{nearest(n, known)}" for n, place in named.items() if n not in known]
    return doubled + strange


def _echo_problems(source: EchoFormat, catalogue: TaskCatalogue) -> list[str]:
    problems = [*_date_problems(source.id.date_format), *_column_problems(source)]
    for name, column in source.columns.items():
        quantity = catalogue.quantities.get(name)
        if not column.names and not column.range:
            problems.append(f"columns.{name}: needs names or range")
        if quantity is None:
            problems.append(f"columns.{name}: unknown quantity{nearest(name, tuple(catalogue.quantities))}")
        elif quantity.kind == "number":
            problems += [f"columns.{name}.unit: {p}" for p in _unit_problems(column.unit, str(quantity.unit))]
        else:
            problems += [f"columns.{name}.words: {p}" for p in _level_problems(column, quantity.levels)]
    return problems


def _date_problems(date_format: str) -> list[str]:
    day = datetime.datetime(2001, 2, 3, 4, 5, 6)
    try:
        read = datetime.datetime.strptime(day.strftime(date_format), date_format)
    except ValueError as error:
        return [f"id.date_format: '{date_format}' is no format of a date ({error})"]
    return [] if read.date() == day.date() else [f"id.date_format: '{date_format}' lacks year, month or day"]


def _column_problems(source: EchoFormat) -> list[str]:
    """A column under two quantities, and words of one vocabulary that differ by case or blanks alone."""
    problems: list[str] = []
    owners: dict[str, str] = {}
    for name, column in source.columns.items():
        for spelling in (*column.names, *(column.range or ())):
            key = spelling.lower() if isinstance(source, EchoLong) else spelling
            owner = owners.setdefault(key, name)
            if owner != name:
                problems.append(f"columns.{name}: '{spelling}' stands under '{owner}' too")
        first: dict[str, str] = {}
        for word in column.words or {}:
            if (other := first.setdefault(plain(word), word)) != word:
                problems.append(f"columns.{name}.words: '{other}' and '{word}' are one word")
    return problems


def _unit_problems(unit: str | None, canonical: str) -> list[str]:
    if unit is None:
        return [f"missing; the quantity is measured in {canonical}"]
    try:
        unit_factor(unit, canonical)
    except ValueError as error:
        return [str(error)]
    return []


def _level_problems(column: ColumnConfig, levels: tuple[str, ...]) -> list[str]:
    if not column.words:
        return [f"missing; map each word to one of {', '.join(levels)}"]
    named = {
        level for value in column.words.values() for level in ((value,) if isinstance(value, str) else value or ())
    }
    return [f"unknown level '{level}'{nearest(level, levels)}" for level in sorted(named - set(levels))]
