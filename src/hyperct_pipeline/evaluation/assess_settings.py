"""What is assessed, how finely, and how risks are recalibrated."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from hyperct_pipeline.errors import PackageError

ALL = "all"  # the cohort or subgroup that is the whole table


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class RecalibrationConfig:
    """How calibrators and thresholds are fitted on validation."""

    method: Literal["platt", "isotonic"] = "platt"
    min_class_count: int = Field(default=10, ge=1)  # validation studies of each class that a slope needs
    isotonic_min_class_count: int = Field(default=200, ge=2)  # of each class; with fewer, isotonic becomes Platt
    target_sensitivity: float = Field(default=0.9, gt=0.0, le=1.0)  # reached on validation by the second threshold


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SubgroupConfig:
    """Which subgroups are reported, and when a cell is too small to be shown."""

    columns: tuple[Literal["sex", "age_years", "site", "scanner", "kernel", "slice_thickness_mm"], ...] = (
        "sex",
        "age_years",
        "site",
        "scanner",
        "kernel",
        "slice_thickness_mm",
    )
    min_class_count: int = Field(default=10, ge=1)  # positives and negatives; a smaller cell is suppressed
    age_bands: tuple[float, ...] = (50.0, 65.0, 80.0)  # years: below the first, between, from the last on
    thickness_bands_mm: tuple[float, ...] = (1.5, 3.0)
    max_levels: int = Field(default=12, ge=2)  # the most frequent levels of a column; the rest is `other`

    def __post_init__(self) -> None:
        for name in ("age_bands", "thickness_bands_mm"):
            bands = getattr(self, name)
            if list(bands) != sorted(set(bands)):
                raise ValueError(f"{name} must ascend, found {list(bands)}")


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class AssessConfig:
    """What is assessed and how finely."""

    model: str = "hyperct"  # name of the primary model in the tables
    split: str = "test"  # split that is assessed
    missing_predictions: Literal["refuse", "exclude"] = "refuse"  # exclude: such rows are left out and counted
    confidence_level: float = Field(default=0.95, gt=0.0, lt=1.0)
    bootstrap_draws: int = Field(default=1000, ge=1)  # patient-clustered resamples
    seed: int = 0  # of the resampling
    thresholds_percent: tuple[int, int] = (5, 80)  # first and last decision threshold, steps of 1 %
    task_thresholds_percent: dict[str, tuple[int, int]] = Field(default_factory=dict)  # task -> its own range
    stated_prevalence: dict[str, float] = Field(default_factory=dict)  # task -> share of positives where it is used
    decision_cohorts: tuple[str, ...] = ()  # drawn; none: those that start with prospective, else every cohort
    decision_group: str = "cardiac"  # task group whose decision curves are drawn
    reliability_bins: int = Field(default=10, ge=2)  # bins of equal counts in the reliability curve
    ece_bins: int = Field(default=10, ge=2)  # bins of equal width of the expected calibration error
    claim_tasks: tuple[str, ...] = (ALL,)  # tests between models that may become claims (Holm); `all` is every task
    exploration_tasks: tuple[str, ...] = (ALL,)  # tests that are looked through (Benjamini and Hochberg)
    single_task_model: str = "single_task"  # the rival that negative transfer is measured against
    subgroups: SubgroupConfig = Field(default_factory=SubgroupConfig)

    def __post_init__(self) -> None:
        for low, high in (self.thresholds_percent, *self.task_thresholds_percent.values()):
            if not 0 < low < high < 100:
                raise ValueError(f"thresholds_percent must hold 0 < first < last < 100, found [{low}, {high}]")
        for task, share in self.stated_prevalence.items():
            if not 0 < share < 1:
                raise ValueError(f"stated_prevalence of {task} must lie within (0, 1), found {share}")

    @property
    def level_text(self) -> str:
        """The confidence level as `95 %`."""
        return f"{100.0 * self.confidence_level:g} %"

    def percents_of(self, task: str) -> tuple[int, int]:
        """First and last decision threshold of a task in percent."""
        return self.task_thresholds_percent.get(task, self.thresholds_percent)


def settings_of(facts: Mapping[str, Any]) -> AssessConfig:
    """The settings that an assessment was made with, from its facts; a later run may have others.

    Raises:
        PackageError: the facts hold no settings, or not those of this version.
    """
    try:
        return TypeAdapter(AssessConfig).validate_python(facts.get("settings"))
    except ValidationError as error:
        places = sorted({".".join(map(str, e["loc"])) or "settings" for e in error.errors()})
        raise PackageError(
            f"assessment_facts: settings do not fit this version of the software ({', '.join(places)}); run "
            "`kedro run --pipeline=assess` again"
        ) from error
