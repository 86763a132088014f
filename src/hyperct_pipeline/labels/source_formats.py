"""How each file spells things: column names, units, vocabularies, identifiers. One class per form of table."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

# What a study may be called in a table. volume_name: the stem stands in for the StudyInstanceUID (NIfTI cohorts).
StudyIdType = Literal["accession_number", "volume_name", "study_instance_uid"]
Grade = Literal["exact", "approximate", "unavailable"]
SPLITS = ("train", "validation", "test")
_STRICT = ConfigDict(extra="forbid")


def _plain_words(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(re.sub(r"^(-?\d+)\.0+$", r"\1", word.strip().lower()) for word in words)


# Compared with lower-case cells, in which 1.0 stands as 1.
Words = Annotated[tuple[str, ...], AfterValidator(_plain_words)]


@dataclass(frozen=True, config=_STRICT)
class PatientColumn:
    """A further table that says whose each study is: it has the source's id column and this one."""

    table: str
    column: str


@dataclass(frozen=True, config=_STRICT)
class StudyIdConfig:
    """Where a findings table names its studies."""

    column: str
    type: StudyIdType
    # regular expression with the group `study`, optionally `patient` and `split`; None: all of the cell is the study
    pattern: str | None = None
    patient: str | None = None  # column of the patient id, where the table has one
    patient_from: PatientColumn | None = None  # or the table that has it; optional when labels are read


@dataclass(frozen=True, config=_STRICT)
class WordsColumn:
    """Columns that rule a study out when a cell holds one of these words."""

    names: tuple[str, ...]
    words: Words
    # words that leave a study in, lower case; anything else leaves it in too, but is counted and warned of
    other_words: Words = ("", "0", "false", "no", "none", "nan", "na", "n/a", "unknown")


@dataclass(frozen=True, config=_STRICT)
class EligibilityColumns:
    """Columns of a findings table that tell whether a study counts; all of them optional."""

    age_years: tuple[str, ...] = ()  # "17", "017Y" or "11M"
    excluded_where: dict[str, WordsColumn] | None = None  # reason -> columns

    @property
    def names(self) -> tuple[str, ...]:
        """All spellings of its columns."""
        return (*self.age_years, *(name for words in (self.excluded_where or {}).values() for name in words.names))


@dataclass(frozen=True, config=_STRICT)
class EchoIdConfig:
    """Where an echo table names patient, date and kind of examination."""

    patient: str = "patient_id"
    date: tuple[str, ...] = ("echo_date",)  # every spelling; the first that is present counts
    date_format: str = "%Y-%m-%d"  # as strptime reads it; a time of day behind it is ignored
    study_type: str = "test_type"
    exam: str | None = None  # column that names the examination; without it, patient and day do


@dataclass(frozen=True, config=_STRICT)
class ColumnConfig:
    """The columns (of a long table: the measurements) in which one quantity may stand, and how it is written there."""

    names: tuple[str, ...] = ()  # every spelling; several present = they must agree
    unit: str | None = None  # unit of the numbers; needed for quantities that are numbers
    # word -> level, (first, last) level, null = not measured; for a number: word -> the measurement it stands for
    words: dict[str, str | tuple[str, str] | None] | None = None
    range: tuple[str, str] | None = None  # columns of the lower and the upper end


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class _Findings:
    id: StudyIdConfig
    present: Words = ("1", "true", "yes")  # cell texts; case does not matter, 1.0 counts as 1
    absent: Words = ("0", "false", "no")
    unknown: Words = ("",)  # anything else is unknown too, but counted as unmapped text
    issuer: str = ""  # IssuerOfPatientID of the patient ids, where the archive states one
    exclude_tables: tuple[str, ...] = ()  # tables whose ids are excluded, same id column
    eligibility: EligibilityColumns = Field(default_factory=EligibilityColumns)
    # value of the pattern's group `split` -> official split; other values leave the split open
    official_splits: dict[str, Literal["train", "validation", "test"]] | None = None
    ignore: tuple[str, ...] = ()  # columns that look like ours and are not
    precedence: int = 10  # of several sources that know a label the highest counts
    provenance: dict[str, str] | None = None  # for the report: who made the labels, licence


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class FindingsWide(_Findings):
    """One row per study (or reconstruction), one column per finding."""

    kind: Literal["findings_wide"]
    columns: Literal["auto"] | dict[str, str] = "auto"  # column -> finding; auto: 'Lung nodule' -> lung_nodule


@dataclass(frozen=True, config=_STRICT)
class LocatedFinding:
    """Which abnormalities at which locations make up a finding."""

    match: Grade  # how well they stand for it; unavailable: no label, whatever the table says
    of: Words = ()
    at: Words = ()  # empty: anywhere
    note: str = ""  # why it is approximate or unavailable


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class FindingsByLocation(_Findings):
    """One row per study, one column `abnormality*location` for each pair.

    Closed world: the reports were read for every abnormality and location, so a pair without a column was not
    mentioned, as long as the table names one of the finding's abnormalities at all.
    """

    kind: Literal["findings_by_location"]
    findings: dict[str, LocatedFinding]
    locations: Literal["mapped", "any"] = "mapped"  # any: `at` is not heeded, as in the literature
    # what the table names besides, lower case: a name in neither place that looks like a mapped one is an error
    other_abnormalities: Words = ()
    other_locations: Words = ()


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class _Echo:
    columns: dict[str, ColumnConfig]  # quantity -> its columns
    id: EchoIdConfig = Field(default_factory=EchoIdConfig)
    issuer: str = ""  # IssuerOfPatientID of the patient ids, where the archive states one
    use_study_types: Words = ("tte",)  # resting examinations, lower case; others are excluded
    missing: Words = ("",)  # cell texts and numbers that stand for "not measured", lower case
    decimal_comma: bool = False  # "5,3" means 5.3
    ignore: tuple[str, ...] = ()  # columns that look like ours and are not
    precedence: int = 10
    provenance: dict[str, str] | None = None


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class EchoWide(_Echo):
    """One row per echo examination, one column per measurement."""

    kind: Literal["echo_wide"]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class EchoLong(_Echo):
    """One row per measurement: its name, its result, and perhaps its unit."""

    kind: Literal["echo_long"]
    measurement: str = "measurement"  # column of the name
    result: str = "result"
    result_unit: str = "unit"  # a unit in this column overrides the one of `columns`


FindingsFormat = FindingsWide | FindingsByLocation
EchoFormat = EchoWide | EchoLong
SourceConfig = Annotated[
    FindingsWide | FindingsByLocation | EchoWide | EchoLong,
    Field(discriminator="kind"),
]


def extra_tables(source: FindingsFormat | EchoFormat) -> tuple[str, ...]:
    """Names of the tables a source reads beside its own: exclusion lists, and who the patients are."""
    if not isinstance(source, FindingsWide | FindingsByLocation):
        return ()
    patients = (source.id.patient_from.table,) if source.id.patient_from else ()
    return (*source.exclude_tables, *patients)
