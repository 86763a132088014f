"""Methods on the same studies, backbone, masks, schedule and budget: which runs there are, and the record of one."""

import dataclasses
import gc
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
import torch

from hyperct_pipeline.errors import ConfigError
from hyperct_pipeline.model.backbone import build_backbone
from hyperct_pipeline.model.hyperct import HyperCT
from hyperct_pipeline.model.settings import HyperCTConfig, Method
from hyperct_pipeline.training.dataset import CTStudies
from hyperct_pipeline.training.device import device_of
from hyperct_pipeline.training.history import best_epoch, history_row
from hyperct_pipeline.training.job import Job
from hyperct_pipeline.training.loop import Epoch, fit
from hyperct_pipeline.training.run_state import load_trained
from hyperct_pipeline.training.scoring_cost import flop_per_scan, peak_memory, seconds_per_scan
from hyperct_pipeline.training.settings import CompareConfig, FitConfig
from hyperct_pipeline.training.steps import usable_studies
from hyperct_pipeline.training.validation import score

logger = logging.getLogger(__name__)


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
    with peak_memory(device) as peak:
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
    epoch_seconds = last.metrics["seconds"]
    assert epoch_seconds is not None
    n_steps = math.ceil(len(usable_studies(train.studies.labels)) / run.config.batch_size)
    held_out, batch_size = _fresh(test, None), run.config.validation_batch_size
    logits = score(model, held_out, batch_size, device)
    scan_seconds = seconds_per_scan(model, held_out, batch_size, device)
    flop = flop_per_scan(model, held_out, device)
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
        "gflop_per_scan": None if flop is None else flop / 1e9,
        "peak_memory_mib": peak[0] / 2**20,
        "seconds_per_step": epoch_seconds / n_steps,
        "seconds_per_scan": scan_seconds,
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


def _free_what_is_left(device: torch.device) -> None:
    """Give the memory of earlier runs back, so that each begins with the same."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _fresh(studies: CTStudies, seed: int | None) -> CTStudies:
    """The studies without what another run has kept, with crops of this run's seed."""
    own = None if studies.seed is None else seed
    return CTStudies(studies.store, studies.studies, studies.slices, studies.digest, own, studies.trim)
