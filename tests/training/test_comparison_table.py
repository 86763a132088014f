"""What the table of a comparison says where there is nothing to say; its numbers are tested with the runs."""

import numpy as np

from hyperct_pipeline.training.comparison_table import comparison_rows
from hyperct_pipeline.training.settings import CompareConfig

from .conftest import TASKS

GROUPS = {"bright_left": "radiological", "dark_centre": "cardiac", "never_known": "cardiac"}


def test_a_group_without_labels_is_undefined() -> None:
    labels = np.full((4, 3), -1, dtype=np.int8)
    record = {"method": "hyperct", "logits": np.zeros((4, 3)).tolist(), "trainable_parameters": 1}
    compare = CompareConfig(methods=("hyperct",), seeds=(0,), bootstrap_draws=5)
    rows = comparison_rows([record], TASKS, GROUPS, labels, ["a", "b", "c", "d"], compare)
    assert all(row["auroc"] is None and row["n_tasks"] == 0 for row in rows)
