"""How each file spells things: column names, units, vocabularies, identifiers. One entry per table format."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from hyperct_pipeline.errors import ConfigError, LabelTableError
from hyperct_pipeline.labels.quantities import unit_factor
from hyperct_pipeline.labels.tasks import TaskCatalogue, nearest

# What a study may be called in a table. volume_name: the stem stands in for the StudyInstanceUID (NIfTI cohorts).
StudyIdType = Literal["accession_number", "volume_name", "study_instance_uid"]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class StudyIdConfig:
    """Where a findings table names its studies."""

    column: str
    type: StudyIdType
    pattern: str | None = None  # regular expression with the group `study`, optionally `patient`; None: all of it


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class EchoIdConfig:
    """Where an echo table names patient, date and kind of examination."""

    patient: str = "patient_id"
    date: tuple[str, ...] = ("echo_date",)  # every spelling; the first that is present counts
    date_format: str = "%Y-%m-%d"  # as strptime reads it
    study_type: str = "test_type"


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ColumnConfig:
    """The columns in which one quantity may stand, and how it is written there."""

    names: tuple[str, ...]  # every spelling; several present = they must agree
    unit: str | None = None  # unit of the numbers; needed for quantities that are numbers
    words: dict[str, str | tuple[str, str] | None] | None = None  # word -> level, (first, last) level, null = none


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class FindingsWide:
    """One row per study (or reconstruction), one column per finding."""

    kind: Literal["findings_wide"]
    id: StudyIdConfig
    present: tuple[str, ...] = ("1", "true", "yes")  # cell texts, lower case; 1.0 counts as 1
    absent: tuple[str, ...] = ("0", "false", "no")
    unknown: tuple[str, ...] = ("",)  # anything else is unknown too, but counted as unmapped text
    columns: Literal["auto"] | dict[str, str] = "auto"  # column -> finding; auto: 'Lung nodule' -> lung_nodule
    issuer: str = ""  # IssuerOfPatientID of the patients that id.pattern names, where the archive states one
    exclude_tables: tuple[str, ...] = ()  # tables whose ids are excluded, same id column
    precedence: int = 10  # of several sources that know a label the highest counts
    provenance: dict[str, str] | None = None  # for the report: who made the labels, licence


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class EchoWide:
    """One row per echo examination, one column per measurement."""

    kind: Literal["echo_wide"]
    columns: dict[str, ColumnConfig]  # quantity -> its columns
    id: EchoIdConfig = Field(default_factory=EchoIdConfig)
    issuer: str = ""  # IssuerOfPatientID of the patient ids, where the archive states one
    use_study_types: tuple[str, ...] = ("tte",)  # resting examinations, lower case; others are excluded
    missing: tuple[str, ...] = ("",)  # cell texts and numbers that stand for "not measured", lower case
    decimal_comma: bool = False  # "5,3" means 5.3
    precedence: int = 10
    provenance: dict[str, str] | None = None


SourceConfig = Annotated[FindingsWide | EchoWide, Field(discriminator="kind")]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class LabelSourcesConfig:
    """`params:label_sources`: source name -> format of its table."""

    sources: dict[str, SourceConfig]

    def of(self, name: str) -> FindingsWide | EchoWide:
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


def load_sources(config: LabelSourcesConfig | Mapping[str, Any], catalogue: TaskCatalogue) -> LabelSourcesConfig:
    """Check the sources against the catalogue: every quantity, unit, level and pattern must make sense.

    Raises:
        ConfigError: with every problem found, each with its key.
    """
    checked = config if isinstance(config, LabelSourcesConfig) else _from_mapping(config)
    problems = [
        f"{name}.{problem}"
        for name, source in checked.sources.items()
        for problem in (_id_problems(source) if isinstance(source, FindingsWide) else _echo_problems(source, catalogue))
    ]
    if problems:
        listed = "\n  ".join(f"label_sources.sources.{problem}" for problem in problems)
        raise ConfigError(f"{len(problems)} problems in the label sources (parameters_sources.yml):\n  {listed}")
    return checked


def _from_mapping(config: Mapping[str, Any]) -> LabelSourcesConfig:
    try:
        return TypeAdapter(LabelSourcesConfig).validate_python(dict(config))
    except ValidationError as error:
        listed = "\n  ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"label_sources does not have the expected form:\n  {listed}") from None


def _id_problems(source: FindingsWide) -> list[str]:
    if source.id.pattern is None:
        return []
    try:
        groups = re.compile(source.id.pattern).groupindex
    except re.error as error:
        return [f"id.pattern: no regular expression ({error})"]
    return [] if "study" in groups else ["id.pattern: needs the named group (?P<study>...)"]


def _echo_problems(source: EchoWide, catalogue: TaskCatalogue) -> list[str]:
    problems = []
    for name, column in source.columns.items():
        quantity = catalogue.quantities.get(name)
        if quantity is None:
            problems.append(f"columns.{name}: unknown quantity{nearest(name, tuple(catalogue.quantities))}")
        elif quantity.kind == "number":
            problems += [f"columns.{name}.unit: {p}" for p in _unit_problems(column.unit, str(quantity.unit))]
        else:
            problems += [f"columns.{name}.words: {p}" for p in _level_problems(column, quantity.levels)]
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
