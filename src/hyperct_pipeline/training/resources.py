"""What a training will need, before it begins: memory of the device and of the host, and time.

The memory of a step is counted from what the backward pass keeps of each block; `tests/training/test_resources.py`
holds the count against what autograd really keeps.
"""

import logging
import math
import os
import time
from dataclasses import dataclass

import torch

from hyperct_pipeline.errors import ConfigError
from hyperct_pipeline.model.hyperct import HyperCT
from hyperct_pipeline.model.precision import compute_type
from hyperct_pipeline.model.task_weights import free_bytes
from hyperct_pipeline.training.dataset import CTStudies
from hyperct_pipeline.training.settings import FitConfig
from hyperct_pipeline.training.steps import usable_studies

logger = logging.getLogger(__name__)

_SAFE_SHARE = 0.8  # of the free memory; the rest is for fragments and for what is not counted
_MIB, _GIB = 2**20, 2**30
_WIDENING = 4  # hidden width of the MLP over the width of the backbone


@dataclass(frozen=True)
class Needs:
    """Bytes, and floating-point operations of one step."""

    model_bytes: int  # backbone, its copy in another type, trained weights, gradients, moments, their average
    scan_bytes: int  # kept for the backward pass per scan
    host_bytes: int  # a checkpoint in the making, and features that are kept
    step_flop: float  # of matrix products, forward and backward, over all processes

    def device_bytes(self, micro_batch_size: int) -> int:
        """Bytes on the device with so many scans at once."""
        return self.model_bytes + micro_batch_size * self.scan_bytes


def needs_of(model: HyperCT, train: CTStudies, config: FitConfig, n_processes: int = 1) -> Needs:
    """Count before training, from shapes alone; several processes send a copy of the gradients."""
    design, n_blocks = model.design, len(model.backbone.blocks)
    width, itemsize = model.backbone.embed_dim, compute_type(config.precision).itemsize
    rows, columns = model.grid_hw
    tokens = train.slices.n_triplets * (rows * columns + model.n_prefix_tokens)
    passes = min(config.tasks_per_scan, len(model.tasks)) if design.task_specific else 1
    learned_blocks = n_blocks if design.trains_backbone else model.n_adapted_blocks
    per_block = tokens * width * block_bytes_per_entry(itemsize)
    # of the last block only the CLS row goes on: keys and values are all that is computed for every token
    last_kept, last_flop = (4 + 3 * itemsize) / block_bytes_per_entry(itemsize), 2 / (4 + 2 * _WIDENING)
    kept_blocks = max(0.0, learned_blocks - 1 + last_kept)
    if config.checkpointing:
        kept_blocks = 1.0 + learned_blocks * 4 / block_bytes_per_entry(itemsize)
    images = train.slices.n_triplets * 3 * train.slices.crop_yx[0] * train.slices.crop_yx[1] * (2 + 4)
    backbone = sum(parameter.numel() for parameter in model.backbone.parameters())
    trained = sum(parameter.numel() for parameter in model.trainable_parameters().values())
    n_distinct = min(len(model.tasks), config.batch_size * config.tasks_per_scan)
    adapters = model.config.rank * sum(sum(shape) for shape in model.shapes.values()) * model.n_adapted_blocks
    copies = 4 + 4 + 8 + (4 if config.ema_decay is not None else 0) + (4 if n_processes > 1 else 0)
    forward = 2.0 * tokens * width**2 * (4 + 2 * _WIDENING) * passes
    features = len(train) * train.slices.n_triplets * width * 4 if design.frozen_features else 0
    return Needs(
        model_bytes=backbone * (4 + (itemsize if itemsize < 4 else 0))
        + trained * copies
        + 3 * n_distinct * adapters * 4,
        scan_bytes=images + (0 if design.frozen_features else int(per_block * kept_blocks * passes)),
        host_bytes=trained * 12 + features,
        step_flop=config.batch_size
        * forward
        * (n_blocks - 1 + last_flop + max(0.0, learned_blocks - 1 + last_flop) * (2 if design.trains_backbone else 1)),
    )


def block_bytes_per_entry(itemsize: int) -> int:
    """Bytes that the backward pass of a block keeps per token and channel.

    In fp32: the residual stream at the input of both norms. In the type of the products: both normed inputs, query,
    key, value and output of attention (its output once more as input of the next linear), and the MLP before and after
    its activation, each four times as wide.
    """
    residual = 2 * 4
    normed = 2 * itemsize
    attention = 5 * itemsize
    return residual + normed + attention + 2 * _WIDENING * itemsize


def chosen_micro_batch(
    model: HyperCT, train: CTStudies, config: FitConfig, device: torch.device, n_processes: int
) -> int:
    """Scans at once per process: the share of a batch, or less where memory asks for it; gradients are accumulated.

    Raises:
        ConfigError: not even one scan fits, or the host's memory does not suffice.
    """
    needs, share = needs_of(model, train, config, n_processes), math.ceil(config.batch_size / n_processes)
    wanted = min(share, config.micro_batch_size or share)
    here = processes_here()
    size, limit = wanted, _SAFE_SHARE * free_bytes(device) / (here if device.type == "cpu" else 1)
    host_limit = _SAFE_SHARE * free_bytes(torch.device("cpu")) / here
    if needs.host_bytes > host_limit:
        raise ConfigError(
            f"training needs about {needs.host_bytes / _GIB:.1f} GiB of the host's memory for a checkpoint in the "
            f"making and kept features, and {host_limit / _GIB:.1f} GiB of it may be used: free memory, or set fewer "
            "fit.n_processes or slices.n_triplets, or model.method=hyperct_narrow"
        )
    while size > 1 and needs.device_bytes(size) > limit:
        size = math.ceil(size / 2)
    if needs.device_bytes(size) > limit:
        raise ConfigError(
            f"training needs about {needs.device_bytes(1) / _GIB:.1f} GiB on {device} for one scan at a time, and "
            f"{limit / _GIB:.1f} GiB of it may be used: set fit.checkpointing=true, fit.precision=bf16, a smaller "
            "fit.tasks_per_scan or model.method=hyperct_narrow"
        )
    n_steps = math.ceil(len(usable_studies(train.studies.labels)) / config.batch_size) * config.epochs
    seconds = needs.step_flop / n_processes / _flop_per_s(model, config, device) * n_steps
    logger.info(
        "training needs about %.0f MiB on %s (%d of %d scans of a batch at once) and %.0f MiB of the host's memory, "
        "and at least %.0f s for its matrix products",
        needs.device_bytes(size) / _MIB, device, size, share, needs.host_bytes / _MIB, seconds,
    )  # fmt: skip
    if size < wanted:
        logger.warning("memory allows %d scans at once instead of %d: gradients are accumulated", size, wanted)
    return size


def processes_here() -> int:
    """Training processes that share this host's memory; torch elastic tells each of them."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _flop_per_s(model: HyperCT, config: FitConfig, device: torch.device) -> float:
    """Measured on matrix products as the MLP has them."""
    width = model.backbone.embed_dim
    x = torch.ones(2048, width, device=device, dtype=compute_type(config.precision))
    weight = torch.ones(width, _WIDENING * width, device=device, dtype=x.dtype)
    flop, done = 2.0 * x.numel() * _WIDENING * width, 0
    started = time.perf_counter()
    while time.perf_counter() - started < 0.02:
        _ = x @ weight
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        done += 1
    return flop * done / (time.perf_counter() - started)
