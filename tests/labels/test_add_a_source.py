"""The how-to of the documentation does what it says: its table, its block and its results."""

import re
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from hyperct_pipeline.datasets.text_table import read_text_table
from hyperct_pipeline.labels import harmonize
from hyperct_pipeline.labels.tasks import TaskCatalogue

PAGE = (Path(__file__).parents[2] / "docs" / "add_a_source.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)
    assert found
    return found[1]


def test_the_example_gives_the_labels_it_promises(
    tmp_path: Path, catalogue: TaskCatalogue, sources_yaml: dict[str, Any]
) -> None:
    (tmp_path / "echo.csv").write_text(block("csv"), encoding="utf-8")
    table = read_text_table(tmp_path / "echo.csv", "labels.valley_hospital")
    sources_yaml["sources"] |= yaml.safe_load(block("yaml"))
    labels = harmonize("valley_hospital", {"valley_hospital": table}, catalogue, sources_yaml)
    found = labels.set_index(["study_key", "task"])
    promised = re.findall(r"^\| (\d) \| (\w+) \| (0|1|unknown) \| (.*) \|$", PAGE, flags=re.MULTILINE)
    assert len(promised) == 10
    for row, task, value, why in promised:
        label = found.loc[(row, task)]
        assert ("unknown" if pd.isna(label["label"]) else str(label["label"])) == value, (row, task)
        if value == "unknown":
            assert why.startswith(label["reason"])
