"""Runs of a comparison, and the table against its parts."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hyperct_pipeline.errors import ConfigError
from hyperct_pipeline.metrics.discrimination import auroc
from hyperct_pipeline.training.comparison import made_before, record_of, runs_of
from hyperct_pipeline.training.comparison_table import comparison_rows
from hyperct_pipeline.training.dataset import CTStudies
from hyperct_pipeline.training.job import Job
from hyperct_pipeline.training.settings import CompareConfig, FitConfig
from hyperct_pipeline.volumes.store import VolumeStore

from .conftest import BACKBONE, DIGEST, MODEL, SLICES, TASKS, make_studies

FIT = FitConfig(epochs=3, batch_size=8, tasks_per_scan=2, lr=3e-3, clip_norm=1.0, device="cpu")
GROUPS = {"bright_left": "radiological", "dark_centre": "cardiac", "never_known": "cardiac"}
COMPARE = CompareConfig(methods=("linear_probe", "hyperct", "first"), variants={"first": {"init": "reference"}})


def test_runs_are_methods_and_variants_times_seeds() -> None:
    runs = runs_of(COMPARE, MODEL, FIT)
    assert [run.name for run in runs][:4] == [
        "linear_probe_seed0", "linear_probe_seed1", "linear_probe_seed2", "hyperct_seed0",
    ]  # fmt: skip
    assert runs[0].model.design.generator == "none" and runs[8].model.design.init == "reference"
    assert {(run.model.seed, run.config.seed) for run in runs} == {(0, 0), (1, 1), (2, 2)}
    slower = CompareConfig(methods=("x",), variants={"x": {"method": "hyperct", "lr": 1.0, "epochs": 2}})
    assert runs_of(slower, MODEL, FIT)[0].config == replace(FIT, lr=1.0, epochs=2)


@pytest.mark.parametrize(
    ("methods", "variants", "message"),
    [
        (("svm",), {}, "no method 'svm'"),
        (("x",), {"x": {"rnak": 3}}, "neither model nor fit has a key 'rnak'"),
        (("hyperct", "hyperct_narrow"), {}, "hyperct and hyperct_narrow are the same model with model.head_in 16"),
        (("x",), {"x": {"rank": 0}}, "compare.methods: x: model sizes must be at least 1"),
    ],
)
def test_impossible_runs(methods: tuple[str, ...], variants: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        runs_of(CompareConfig(methods=methods, variants=variants), MODEL, FIT)


def test_a_narrow_run_differs_by_its_width() -> None:
    compare = CompareConfig(methods=("hyperct", "hyperct_narrow", "x"), variants={"x": {"head_in": 4}})
    widths = [run.model.design.head_in for run in runs_of(compare, replace(MODEL, head_in=None), FIT)]
    assert widths[::3] == [768, 128, 4]


@pytest.mark.parametrize(
    "wrong", [{"methods": ()}, {"seeds": (1, 1)}, {"split": "train"}, {"max_seconds": 0.0}, {"bootstrap_draws": 0}]
)
def test_impossible_settings(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="compare"):
        CompareConfig(**wrong)


def test_records_and_table(train: CTStudies, validation: CTStudies, store: VolumeStore) -> None:
    test = CTStudies(store, make_studies(store, 30, "h", 5), SLICES, DIGEST)
    compare = CompareConfig(methods=("linear_probe", "hyperct"), seeds=(0, 1), bootstrap_draws=50)
    records = []
    for run in runs_of(compare, MODEL, FIT):
        job = Job(BACKBONE, run.model, TASKS, train, validation, run.config, "")
        records.append(record_of(run, job, test, compare))
    assert not any(record["stopped_by_time"] for record in records)
    assert all(len(record["logits"]) == 30 and record["epochs"] == 3 for record in records)
    assert records[0]["trainable_parameters"] == 32 * 2 + 33 * 3  # LayerNorm, and one linear per task
    assert records[0]["logits"] != records[1]["logits"]
    # three tasks through the adapted blocks against one pass
    assert 2.0 < records[2]["gflop_per_scan"] / records[0]["gflop_per_scan"] < 3.2
    assert all(record["seconds_per_step"] > 0 and record["seconds_per_scan"] > 0 for record in records)
    rows = comparison_rows(records, TASKS, GROUPS, test.studies.labels, test.studies.patient_keys, compare)
    assert [(row["method"], row["group"]) for row in rows] == [
        (method, group) for method in compare.methods for group in ("cardiac", "radiological", "all")
    ]
    labels = test.studies.labels[:, 1]
    known = labels >= 0
    own = [auroc(labels[known], np.array(record["logits"])[known, 1]) for record in records[:2]]
    assert rows[0]["auroc"] == pytest.approx(np.mean(own))  # `never_known` has no labels and does not count
    assert (rows[0]["auroc_seed_low"], rows[0]["auroc_seed_high"]) == (min(own), max(own))
    assert rows[0]["n_tasks"] == 1 and rows[2]["n_tasks"] == 2 and rows[0]["n_seeds"] == 2
    assert all(row["auroc_ci_low"] <= row["auroc"] <= row["auroc_ci_high"] for row in rows)


def test_time_ends_a_run(train: CTStudies, validation: CTStudies) -> None:
    methods = ("linear_probe", "hard_sharing", "shared_lora", "mtlora", "hyperct_cores")
    compare = CompareConfig(methods=methods, seeds=(0,), max_seconds=1e-6)
    for run in runs_of(compare, MODEL, replace(FIT, epochs=50)):
        job = Job(BACKBONE, run.model, TASKS, train, validation, run.config, "")
        record = record_of(run, job, validation, compare)
        assert record["stopped_by_time"] and record["max_seconds"] == 1e-6
        assert record["epochs"] == 1 and record["gflop_per_scan"] > 0 and record["trainable_parameters"] > 0


@pytest.mark.parametrize(
    ("before", "stopped", "now", "same"),
    [
        (None, False, None, True),
        (60.0, True, 60.0, True),
        (60.0, True, 600.0, False),  # it would have gone on
        (60.0, True, None, False),
        (60.0, False, 600.0, True),  # it ended by itself
        (60.0, False, None, True),
        (60.0, False, 30.0, False),
        (None, False, 30.0, False),
    ],
)
def test_a_run_is_repeated_under_another_time_limit(
    before: float | None, stopped: bool, now: float | None, same: bool
) -> None:
    record = {"settings": "s", "max_seconds": before, "stopped_by_time": stopped}
    assert made_before(record, "s", now) == same
    assert not made_before(record, "other", now)
    assert not made_before({}, "s", now)
