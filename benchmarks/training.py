"""Training step and scoring of all tasks, as ratios to the public algorithm in one run; equal logits come first.

    python benchmarks/training.py                       a small configuration, for a CPU
    python benchmarks/training.py --size base           ViT-B/16, 8 scans x 55 triplets of 144 x 144, rank 16, 25 tasks

What is compared takes turns, and a ratio is the median over the rounds. The floor is the time of the matrix products of
our step, or of our scoring, run without anything around them.

Needs torch, timm, numpy and safetensors, and this package's training core on the path. Prints one Markdown table and
writes it as JSON where --json says.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dispatched import WAITING, operations
from loader import loader_rate, loader_wait, stored_studies
from matrix_products import MatrixProducts
from paired_times import PairedTimes, wait
from public_algorithm import PublicHyperCT
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from hyperct_pipeline.model.backbone import build_backbone
from hyperct_pipeline.model.hyperct import HyperCT
from hyperct_pipeline.model.precision import compute_type, matmul_precision
from hyperct_pipeline.model.settings import BackboneConfig, HyperCTConfig, Precision
from hyperct_pipeline.training.flop_count import matmul_flop
from hyperct_pipeline.training.optimisation import Optimiser
from hyperct_pipeline.training.settings import FitConfig
from hyperct_pipeline.volumes.slices import IMAGENET_MEAN, IMAGENET_STD

N_TASKS = 25


@dataclass(frozen=True)
class Size:
    """What is measured."""

    backbone: BackboneConfig
    model: HyperCTConfig
    n_scans: int
    n_triplets: int


SIZES = {
    "small": Size(
        BackboneConfig("vit_small_patch16_dinov3_qkvb", img_size=(96, 96), embed_dim=192, depth=4, num_heads=3),
        HyperCTConfig(mode="reference", rank=16, task_dim=64, latent=64, head_in=64, dropout=0.0),
        n_scans=4,
        n_triplets=6,
    ),
    "base": Size(
        BackboneConfig("vit_base_patch16_dinov3_qkvb", img_size=(144, 144)),
        HyperCTConfig(mode="reference", dropout=0.0),
        n_scans=8,
        n_triplets=55,
    ),
}


class Bench:
    """Both algorithms on the same weights and scans."""

    def __init__(self, size: Size, device: torch.device, repeats: int) -> None:
        self.size, self.device, self.repeats = size, device, repeats
        tasks = [f"task_{number}" for number in range(N_TASKS)]
        self.ours = HyperCT(build_backbone(size.backbone), tasks, size.model).to(device)
        self.public = PublicHyperCT(self.ours)
        generator = torch.Generator().manual_seed(0)
        shape = (size.n_scans, size.n_triplets, 3, *size.backbone.img_size)
        images = torch.rand(shape, generator=generator)
        mean, std = (torch.from_numpy(part)[:, None, None] for part in (IMAGENET_MEAN, IMAGENET_STD))
        self.triplets = ((images - mean) / std).to(device)
        self.slices = images.transpose(1, 2).contiguous().to(device)  # (B, 3, N, H, W), as the public code has it
        self.mask = torch.ones(shape[:2], dtype=torch.bool, device=device)
        self.task = torch.from_numpy(np.random.default_rng(0).integers(0, N_TASKS, size.n_scans))
        self.target = (torch.rand(size.n_scans, generator=generator) > 0.5).float().to(device)

    def public_logits(self) -> Tensor:
        """Of each scan for its task."""
        return self.public(self.slices, self.mask, self.public.generated(self.task.to(self.device)))

    def refuse_different_logits(self) -> float:
        """Largest difference of logits; both algorithms must compute the same thing."""
        with torch.no_grad():
            expected = self.public_logits()
            found = self.ours(self.triplets, self.mask, self.task)
            every = self.ours.logits_all_tasks(self.triplets, self.mask, precision="fp32")
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
        own = every[torch.arange(len(self.task)), self.task.to(self.device)]
        torch.testing.assert_close(own, expected, atol=1e-4, rtol=1e-4)
        return float((found - expected).abs().max())

    def our_step(self, precision: Precision) -> Callable[..., None]:
        """One training step of ours, on the scans of the bench or on others of the same number."""
        config = FitConfig(lr=1e-9, clip_norm=1.0)
        optimiser = Optimiser(self.ours.trainable_parameters(), config, n_steps=10**6)

        def step(triplets: Tensor = self.triplets, mask: Tensor = self.mask) -> None:
            self.ours.precision = precision
            with matmul_precision(precision):
                loss = binary_cross_entropy_with_logits(self.ours(triplets, mask, self.task), self.target)
                loss.backward()
            optimiser.step(loss.detach())

        return step

    def public_step(self, autocast: bool) -> Callable[[], None]:
        """One training step of the public algorithm."""
        optimiser = torch.optim.AdamW(self.ours.trainable_parameters().values(), lr=1e-9, betas=(0.9, 0.95))

        def step() -> None:
            optimiser.zero_grad()
            with torch.autocast(self.device.type, torch.bfloat16, enabled=autocast):
                loss = binary_cross_entropy_with_logits(self.public_logits().float(), self.target)
            loss.backward()
            optimiser.step()
            loss.item()

        return step

    def our_scores(self, precision: Precision) -> Callable[[], None]:
        """All tasks of all scans, by ours."""
        return lambda: self.ours.logits_all_tasks(self.triplets, self.mask, precision=precision).cpu()

    def public_scores(self, autocast: bool) -> Callable[[], None]:
        """All tasks of all scans, task by task with adapters generated before, as the public evaluation does."""
        with torch.no_grad():
            kept = [self.public.generated(torch.tensor([task], device=self.device)) for task in range(N_TASKS)]

        def scores() -> None:
            with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=autocast):
                for adapters in kept:
                    own = {s: (a.expand(len(self.task), -1, -1, -1), b.expand(len(self.task), -1, -1, -1))
                           for s, (a, b) in adapters.items()}  # fmt: skip
                    self.public(self.slices, self.mask, own).cpu()

        return scores

    def timed(self, functions: dict[str, Callable[..., None]]) -> PairedTimes:
        """Functions that take turns."""
        return PairedTimes(functions, self.repeats, self.device)

    def peak_mib(self, function: Callable[[], None]) -> float | None:
        """Peak memory on CUDA."""
        if self.device.type != "cuda":
            return None
        torch.cuda.reset_peak_memory_stats(self.device)
        function()
        wait(self.device)
        return torch.cuda.max_memory_allocated(self.device) / 2**20


def large_product(device: torch.device, precision: Precision) -> tuple[float, Callable[[], None]]:
    """Operations of a large matrix product, the ceiling of what the device can do, and what runs it."""
    side = 8192 if device.type == "cuda" else 1024
    x = torch.ones(side, side, device=device, dtype=compute_type(precision))

    def product() -> None:
        _ = x @ x

    return 2.0 * side**3, product


def measured(bench: Bench) -> dict[str, Any]:
    """All figures."""
    cuda = bench.device.type == "cuda"
    results: dict[str, Any] = {"largest difference of logits": bench.refuse_different_logits()}
    fast: Precision = "bf16" if cuda else "fp32"
    bench.ours.train()
    training: dict[str, Callable[..., None]] = {
        "public, fp32": bench.public_step(False),
        "ours, fp32": bench.our_step("fp32"),
    }
    if cuda:
        training |= {"public, bf16 autocast": bench.public_step(True), "ours, bf16": bench.our_step("bf16")}
    results |= compared(bench, "training step", training, f"ours, {fast}")
    results["scans per second, training"] = bench.size.n_scans / results[f"training step, ours, {fast}, s"]
    size = bench.size
    with stored_studies(size.n_scans, size.n_triplets, size.backbone.img_size) as studies:
        n_steps = max(bench.repeats, 5)
        seconds, share = loader_wait(training[f"ours, {fast}"], studies, size.n_scans, n_steps, bench.device)
        rate = loader_rate(studies, size.n_scans)
    results["waiting for the loader per step, s"], results["waiting for the loader, share of the step"] = seconds, share
    results["loader alone, scans per second"] = rate
    results["loader rate to step rate"] = rate / results["scans per second, training"]
    scoring: Precision = "fp16" if cuda else "fp32"
    bench.ours.eval()
    scores = {"public, fp32": bench.public_scores(False), f"ours, {scoring}": bench.our_scores(scoring)}
    if cuda:
        scores["public, bf16 autocast"] = bench.public_scores(True)
    results |= compared(bench, "scores of 25 tasks", scores, f"ours, {scoring}")
    return results | counted(bench)


def compared(bench: Bench, what: str, functions: dict[str, Callable[..., None]], own: str) -> dict[str, Any]:
    """Seconds of each; ratios of the public ones to `own`, and of `own` to its matrix products alone."""
    precision: Precision = own.removeprefix("ours, ")  # type: ignore[assignment]
    ceiling_flop, ceiling = large_product(bench.device, precision)
    floor = "matrix products of ours"
    times = bench.timed(functions | {floor: MatrixProducts.of(functions[own]).run, "large product": ceiling})
    results: dict[str, Any] = {f"{what}, {name}, s": times.median(name) for name in (*functions, floor)}
    for name, function in functions.items():
        if name.startswith("public"):
            results[f"{what}, ratio of {name} to {own}"] = times.ratio(name, own)
        if bench.device.type == "cuda":
            results[f"{what}, {name}, peak MiB"] = bench.peak_mib(function)
    results[f"{what}, ratio of {own} to its matrix products"] = times.ratio(own, floor)
    flop = matmul_flop(functions[own])
    results[f"{what}, GFLOP, {own}"] = flop / 1e9
    results[f"{what}, share of the matmul ceiling"] = flop / ceiling_flop * times.ratio("large product", own)
    return results


def counted(bench: Bench) -> dict[str, Any]:
    """Dispatched operations, and those of them that wait for the device."""
    results: dict[str, Any] = {}
    for name, function in {
        "forward and backward, ours": lambda: bench.ours(bench.triplets, bench.mask, bench.task).sum().backward(),
        "forward and backward, public": lambda: bench.public_logits().sum().backward(),
        "scoring, ours": bench.our_scores("fp32"),
        "scoring, public": bench.public_scores(False),
    }.items():
        counts = operations(function)
        results[f"dispatched operations, {name}"] = sum(counts.values())
        results[f"operations that wait for the device, {name}"] = sum(counts[kind] for kind in WAITING)
    return results


def profile(bench: Bench) -> None:
    """Print what a step of ours spends its time on."""
    step = bench.our_step("bf16" if bench.device.type == "cuda" else "fp32")
    step()
    with torch.profiler.profile() as seen:
        step()
    order = "self_cuda_time_total" if bench.device.type == "cuda" else "self_cpu_time_total"
    print(seen.key_averages().table(sort_by=order, row_limit=15))


def main() -> None:
    """Measure, print and, where asked, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=tuple(SIZES), default="small")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=7, help="rounds in which what is compared takes turns")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    bench = Bench(SIZES[arguments.size], torch.device(arguments.device), arguments.repeats)
    if arguments.profile:
        profile(bench)
        return
    results = measured(bench)
    name = torch.cuda.get_device_name() if arguments.device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"{arguments.size} on {name}, torch {torch.__version__}\n\n| | |\n|---|---|")
    for key, value in results.items():
        print(f"| {key} | {value:.4g} |")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
