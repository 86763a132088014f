"""The table of a comparison: one row per method and task group, from the records of its runs.

Shape letters: n held-out studies, K tasks, D bootstrap draws.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperct_pipeline.metrics.bootstrap import mean_draws, patient_counts, percentile_band
from hyperct_pipeline.metrics.discrimination import auroc
from hyperct_pipeline.metrics.ranking_draws import RankedStudies
from hyperct_pipeline.training.settings import CompareConfig

ALL = "all"


def comparison_rows(
    records: Sequence[Mapping[str, Any]],
    tasks: Sequence[str],
    groups: Mapping[str, str],
    labels: NDArray[np.int8],
    patients: Sequence[str],
    compare: CompareConfig,
) -> list[dict[str, Any]]:
    """One row per method and group, means over its seeds.

    `auroc` is the mean over the tasks of a group that have both classes and over seeds; its interval resamples the
    held-out patients, the same draws for every method. `auroc_seed_low` and `auroc_seed_high` are the extremes of the
    seeds. A method of which no record is there has no row.

    Args:
        labels: (n, K), 1, 0 or -1 for unknown, of the held-out studies in the order of the records' logits.
        patients: (n,) patient keys.
    """
    names, patient = np.unique(np.asarray(patients, dtype=object), return_inverse=True)
    draws = patient_counts(len(names), compare.bootstrap_draws, np.random.default_rng(0))
    rows = []
    for method in compare.methods:
        own = [record for record in records if record["method"] == method]
        if not own:
            continue
        areas = [_areas(labels, np.asarray(record["logits"]), patient, draws) for record in own]
        for group in (*sorted(set(groups.values())), ALL):
            members = [k for k, task in enumerate(tasks) if group in (ALL, groups[task])]
            rows.append({"method": method, "group": group} | _group(areas, members, compare) | _means(own))
    return rows


def _areas(
    labels: NDArray[np.int8], logits: NDArray[np.float64], patient: NDArray[np.intp], draws: NDArray[np.int32]
) -> list[tuple[float, NDArray[np.float64]] | None]:
    """AUROC of each task and of its draws (D,); None where a class is absent."""
    areas: list[tuple[float, NDArray[np.float64]] | None] = []
    for number in range(labels.shape[1]):
        known = labels[:, number] >= 0
        label, values = labels[known, number], logits[known, number] if len(logits) else np.empty(0)
        value = auroc(label, values) if len(label) else None
        areas.append(None if value is None else (value, RankedStudies(label, values, patient[known]).draws(draws).auc))
    return areas


def _group(
    areas: Sequence[Sequence[tuple[float, NDArray[np.float64]] | None]],
    members: Sequence[int],
    compare: CompareConfig,
) -> dict[str, Any]:
    defined = [[found for k in members if (found := of_seed[k]) is not None] for of_seed in areas]
    seeds = [float(np.mean([value for value, _ in of_seed])) for of_seed in defined if of_seed]
    if not seeds:
        none = dict.fromkeys(("auroc", "auroc_ci_low", "auroc_ci_high", "auroc_seed_low", "auroc_seed_high"))
        return none | {"n_tasks": 0, "n_seeds": len(areas)}
    every = [found for of_seed in defined for found in of_seed]
    per_draw = mean_draws([value for value, _ in every], [draws for _, draws in every])[:, None]
    low, high = percentile_band(per_draw, compare.confidence_level)
    return {
        "auroc": float(np.mean(seeds)),
        "auroc_ci_low": float(low[0]),
        "auroc_ci_high": float(high[0]),
        "auroc_seed_low": min(seeds),
        "auroc_seed_high": max(seeds),
        "n_tasks": len(next(of_seed for of_seed in defined if of_seed)),
        "n_seeds": len(areas),
    }


def _means(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    keys = (
        "trainable_parameters", "gflop_per_scan", "peak_memory_mib", "seconds_per_step", "seconds_per_scan",
        "train_loss", "between_task_share", "epochs",
    )  # fmt: skip
    means: dict[str, Any] = {}
    for key in keys:
        values = [float(record[key]) for record in records if record.get(key) is not None]
        means[key] = float(np.mean(values)) if values else None
    stopped = sum(bool(record.get("stopped_by_time")) for record in records)
    return means | {
        "trainable_parameters": int(records[0]["trainable_parameters"]),
        "seeds_stopped_by_time": stopped,
    }
