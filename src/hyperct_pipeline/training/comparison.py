"""Methods on the same studies, backbone, masks, schedule and budget: one run, and the table of many.

Shape letters: n held-out studies, K tasks, D bootstrap draws.
"""

import dataclasses
import gc
import logging
import math
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from hyperct_pipeline.errors import ConfigError
from hyperct_pipeline.metrics.bootstrap import mean_draws, patient_counts, percentile_band
from hyperct_pipeline.metrics.discrimination import auroc
from hyperct_pipeline.metrics.ranking_draws import RankedStudies
from hyperct_pipeline.model.backbone import build_backbone
from hyperct_pipeline.model.hyperct import HyperCT
from hyperct_pipeline.model.settings import HyperCTConfig, Method
from hyperct_pipeline.training.dataset import CTStudies
from hyperct_pipeline.training.device import device_of
from hyperct_pipeline.training.history import best_epoch, history_row
from hyperct_pipeline.training.job import Job
from hyperct_pipeline.training.loop import Epoch, fit, load_trained
from hyperct_pipeline.training.settings import CompareConfig, FitConfig
from hyperct_pipeline.training.steps import usable_studies
from hyperct_pipeline.training.validation import score

logger = logging.getLogger(__name__)

_SAMPLE_EVERY_S = 0.02
ALL = "all"


@dataclass(frozen=True)
class Run:
    """One training of a comparison."""

    method: str  # as the comparison calls it
    seed: int
    model: HyperCTConfig
    config: FitConfig

    @property
    def name(self) -> str:
        """Key of its record."""
        return f"{self.method}_seed{self.seed}"


def runs_of(compare: CompareConfig, model: HyperCTConfig, config: FitConfig) -> list[Run]:
    """All methods and variants with all seeds.

    Raises:
        ConfigError: a name that is neither a method nor a variant, or a change of a key that does not exist.
    """
    runs = []
    for name in compare.methods:
        changes = dict(compare.variants.get(name, {"method": name}))
        parts: dict[str, dict[str, Any]] = {"model": {}, "fit": {}}
        for key, value in changes.items():
            owner = next((part for part, kind in (("model", HyperCTConfig), ("fit", FitConfig))
                          if key in {field.name for field in dataclasses.fields(kind)}), None)  # fmt: skip
            if owner is None:
                raise ConfigError(f"compare.variants.{name}: neither model nor fit has a key '{key}'")
            parts[owner][key] = tuple(value) if isinstance(value, list) else value
        for seed in compare.seeds:
            try:
                if (method := parts["model"].get("method", model.method)) not in get_args(Method):
                    raise ValueError(f"no method '{method}'; there are {', '.join(get_args(Method))}")
                own = replace(model, **({"generator": None, "head": None} | parts["model"] | {"seed": seed}))
                runs.append(Run(name, seed, own, replace(config, **(parts["fit"] | {"seed": seed}))))
            except ValueError as error:
                raise ConfigError(f"compare.methods: {name}: {error}") from error
    _refuse_equal_runs(runs)
    return runs


def _refuse_equal_runs(runs: Sequence[Run]) -> None:
    """hyperct and hyperct_narrow differ by `head_in` alone, and not at all where it is set for both."""
    seen: dict[object, Run] = {}
    for run in runs:
        if run.model.design.generator not in {"full", "narrow"} or run.model.design.shuffles_embeddings:
            continue
        own = replace(run.model, method="hyperct", generator=None, head_in=run.model.design.head_in)
        other = seen.setdefault((own, run.config), run)
        if other.model.design.generator != run.model.design.generator:
            raise ConfigError(
                f"compare.methods: {other.method} and {run.method} are the same model with model.head_in "
                f"{own.head_in}: set model.head_in=null, or name variants with a head_in each"
            )


def record_of(run: Run, job: Job, test: CTStudies, compare: CompareConfig) -> dict[str, Any]:
    """Train, take the best epoch by validation, score the held-out studies: one record of plain JSON values.

    Logits of the held-out studies go into the record, so that intervals over seeds can be made from the records alone.
    """
    device = device_of(run.config.device)
    _free_what_is_left(device)
    model = HyperCT(build_backbone(job.backbone), job.tasks, run.model)
    train, validation = (_fresh(studies, run.seed) for studies in (job.train, job.validation))
    epochs: dict[str, Epoch] = {}
    started, stopped = time.monotonic(), False
    with _peak_memory(device) as peak:
        for epoch in fit(model, train, validation, run.config):
            epochs[epoch.name] = epoch
            best = best_epoch({name: history_row(done.checkpoint) for name, done in epochs.items()})
            epochs = {name: done for name, done in epochs.items() if name in {best, epoch.name}}
            stopped = compare.max_seconds is not None and time.monotonic() - started > compare.max_seconds
            if stopped:
                break
    last = epochs[max(epochs)]
    load_trained(model, epochs[best].checkpoint)
    n_trainable = sum(parameter.numel() for parameter in model.trainable_parameters().values())
    n_steps = math.ceil(len(usable_studies(train.studies.labels)) / run.config.batch_size)
    scored = time.monotonic()
    held_out = _fresh(test, None)
    logits = score(model, held_out, run.config.validation_batch_size, device)
    seconds_per_scan = (time.monotonic() - scored) / max(len(held_out), 1)
    return {
        "method": run.method,
        "seed": run.seed,
        "best_epoch": int(epochs[best].checkpoint.state["epoch"]),
        "epochs": int(last.checkpoint.state["epoch"]),
        "max_seconds": compare.max_seconds,
        "stopped_by_time": stopped and int(last.checkpoint.state["epoch"]) < run.config.epochs,
        "train_loss": last.metrics["train_loss"],
        "validation_auroc": epochs[best].metrics.get("validation_auroc"),
        "between_task_share": epochs[best].metrics.get("between_task_share"),
        "trainable_parameters": n_trainable,
        "gflop_per_scan": _flop_per_scan(model, held_out, device) / 1e9,
        "peak_memory_mib": peak[0] / 2**20,
        "seconds_per_step": last.metrics["seconds"] / n_steps,
        "seconds_per_scan": seconds_per_scan,
        "seconds": time.monotonic() - started,
        "logits": np.round(logits, 6).tolist(),
    }


def made_before(record: Mapping[str, Any], settings: str, max_seconds: float | None) -> bool:
    """Whether a record is what the run would give now.

    The settings must be the same, and the time limit too; a run that its limit did not stop stands under a longer one.
    """
    if record.get("settings") != settings or "max_seconds" not in record:
        return False
    before = record["max_seconds"]
    longer = max_seconds is None or (before is not None and max_seconds >= before)
    return bool(max_seconds == before or (longer and not record["stopped_by_time"]))


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


def _free_what_is_left(device: torch.device) -> None:
    """Give the memory of earlier runs back, so that each begins with the same."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _fresh(studies: CTStudies, seed: int | None) -> CTStudies:
    """The studies without what another run has kept, with crops of this run's seed."""
    own = None if studies.seed is None else seed
    return CTStudies(studies.store, studies.studies, studies.slices, studies.digest, own, studies.trim)


def _flop_per_scan(model: HyperCT, studies: CTStudies, device: torch.device) -> float:
    """Operations of matrix products to score one scan for all tasks, counted as they run; ends the model's training."""
    if not len(studies):
        return 0.0
    model.requires_grad_(False)  # the counter takes views of parameters for results that it could follow backwards
    batch = next(studies.batches([0], 1, epoch=0)).to(device)
    model.eval()
    images = studies.normalise(batch.images)
    model.logits_all_tasks(images, batch.mask)  # merged weights are made once, not per scan
    with FlopCounterMode(display=False) as counter:
        model.logits_all_tasks(images, batch.mask)
    return float(counter.get_total_flops())


@contextmanager
def _peak_memory(device: torch.device) -> Iterator[list[float]]:
    """Largest memory in bytes inside the block: of the device, or how far the process has grown on the host."""
    peak = [0.0]
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield peak
        peak[0] = float(torch.cuda.max_memory_allocated(device))
        return
    start, done = _resident_bytes(), threading.Event()

    def watch() -> None:
        while not done.wait(_SAMPLE_EVERY_S):
            peak[0] = max(peak[0], _resident_bytes() - start)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def _resident_bytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return float(pages * os.sysconf("SC_PAGE_SIZE"))
