"""Which studies are explained for which task."""

from dataclasses import dataclass as plain_dataclass

import pandas as pd
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from hyperct_pipeline.errors import ConfigError, PackageError
from hyperct_pipeline.training.settings import DEVICE_PATTERN


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ExplainConfig:
    """What is explained, and how maps are shown."""

    tasks: tuple[str, ...] = ("all",)  # tasks with saliency maps; `all` is every task of the model
    n_studies: int = Field(default=1, ge=1)  # studies per task; all maps of a run are held in memory
    split: str = "test"  # split the studies come from
    device: str = Field(default="auto", pattern=DEVICE_PATTERN)
    n_slices: int = Field(default=8, ge=2)  # slices in the montage of one map
    display_window_hu: tuple[int, int] = (-1000, 400)  # low, high: black and white of the CT under the maps


@plain_dataclass(frozen=True)
class Example:
    """A study shown for a task; label None is unknown."""

    task: str
    study_key: str
    label: int | None
    probability: float

    @property
    def name(self) -> str:
        """Name of its files."""
        return f"{self.study_key}__{self.task}"

    @property
    def label_text(self) -> str:
        """The label in words."""
        return {1: "positive", 0: "negative", None: "unknown"}[self.label]


def check_model(predictions: pd.DataFrame, model_id: str) -> None:
    """A map explains a score only where both are of one model.

    Raises:
        PackageError: the predictions name another model.
    """
    others = set(predictions["model_id"].dropna()) - {model_id}
    if others:
        raise PackageError(
            f"the predictions are of model {sorted(others)}, the model package is {model_id}: run "
            "`kedro run --pipeline=predict` again"
        )


def choose_examples(predictions: pd.DataFrame, config: ExplainConfig) -> list[Example]:
    """Per task the positives of the split with the highest probability.

    A task without a positive there shows the highest probabilities among all its studies; the label says so.

    Raises:
        ConfigError: a task named in the configuration is not in the predictions.
    """
    found = list(dict.fromkeys(predictions["task"].astype(str)))
    tasks = found if config.tasks == ("all",) else list(config.tasks)
    if strange := sorted(set(tasks) - set(found)):
        raise ConfigError(f"explain.tasks names {strange}; the predictions hold {found}")
    of_split = predictions[(predictions["split"] == config.split).fillna(False)]
    examples = []
    for task in tasks:
        rows = of_split[of_split["task"] == task]
        positives = rows[(rows["label"] == 1).fillna(False)]
        candidates = rows if positives.empty else positives
        # ties by key, so that the same predictions always give the same examples
        ranked = candidates.sort_values(["probability", "study_key"], ascending=[False, True])
        examples += as_examples(ranked.head(config.n_studies))
    return examples


def as_examples(rows: pd.DataFrame) -> list[Example]:
    """Rows of a predictions table as examples, in their order."""
    return [
        Example(
            task=str(row["task"]),
            study_key=str(row["study_key"]),
            label=None if pd.isna(row["label"]) else int(row["label"]),
            probability=float(row["probability"]),
        )
        for row in rows.to_dict("records")
    ]
