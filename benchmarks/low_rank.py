"""Two ways to apply one low-rank update per scan in training: products added in place, or merged into the weights.

    python benchmarks/low_rank.py [--device cuda]

Prints the milliseconds of a forward and backward pass of one linear, per shape: written out for autograd, as
`model/lora.py` has it, and merged per scan (dx by the merged weight, dA and dB by rank-r products).
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear as linear_map

from hyperct_pipeline.model.blocks import Linear
from hyperct_pipeline.model.lora import LowRankLinears, per_sample_lora

# scans, rows per scan, n_in, n_out, rank
SHAPES = (
    (8, 688, 384, 384, 16), (8, 688, 384, 1536, 16), (8, 688, 1536, 384, 16),
    (8, 344, 768, 768, 16), (8, 344, 768, 3072, 16), (8, 344, 3072, 768, 16),
    (200, 168, 96, 96, 4), (200, 168, 96, 384, 4), (200, 168, 384, 96, 4),
)  # fmt: skip


class MergedLinear(torch.autograd.Function):
    """x (W + B A)^T per scan, the merged weight made again in the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """x (S, T, n_in), a (S, r, n_in), b (S, n_out, r)."""
        ctx.save_for_backward(x, weight, a, b)
        return torch.baddbmm(bias, x, torch.baddbmm(weight.expand(len(a), *weight.shape), b, a).mT)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, Tensor, Tensor]:
        """Gradients of x, a and b."""
        (gradient,) = gradients
        x, weight, a, b = ctx.saved_tensors
        merged = torch.baddbmm(weight.expand(len(a), *weight.shape), b, a)
        return torch.bmm(gradient, merged), None, None, (gradient @ b).mT @ x, gradient.mT @ (x @ a.mT)


def milliseconds(function: Callable[[], Tensor], gradient: Tensor, device: torch.device) -> float:
    """Shortest of five."""
    times = []
    for _ in range(5):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        started = time.perf_counter()
        function().backward(gradient)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
    return 1e3 * min(times)


def main() -> None:
    """Print one Markdown row per shape."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    device = torch.device(parser.parse_args().device)
    print("| scans x rows, in, out, rank | autograd | in place | merged | merged / in place |\n|---|---|---|---|---|")
    for n_scans, n_rows, n_in, n_out, rank in SHAPES:
        x = torch.randn(n_scans, n_rows, n_in, device=device, requires_grad=True)
        weight, bias = torch.randn(n_out, n_in, device=device) / n_in**0.5, torch.randn(n_out, device=device)
        a = torch.randn(n_scans, rank, n_in, device=device, requires_grad=True)
        b = torch.randn(n_scans, n_out, rank, device=device, requires_grad=True)
        gradient = torch.randn(n_scans, n_rows, n_out, device=device)
        linears = LowRankLinears({"mlp_up": Linear(weight, bias)}, {"mlp_up": (a, b)}, 1.0)

        def plain(x: Tensor = x, w: Tensor = weight, bias: Tensor = bias, a: Tensor = a, b: Tensor = b) -> Tensor:
            return linear_map(x, w, bias) + per_sample_lora(x, a, b)

        def in_place(x: Tensor = x, linears: LowRankLinears = linears) -> Tensor:
            return linears("mlp_up", x)

        def merged(x: Tensor = x, w: Tensor = weight, bias: Tensor = bias, a: Tensor = a, b: Tensor = b) -> Tensor:
            return MergedLinear.apply(x, w, bias, a, b)

        torch.testing.assert_close(in_place(), plain(), atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(merged(), plain(), atol=1e-3, rtol=1e-3)
        times = [milliseconds(function, gradient, device) for function in (plain, in_place, merged)]
        row = " | ".join(f"{t:.1f}" for t in times)
        print(f"| {n_scans} x {n_rows}, {n_in}, {n_out}, {rank} | {row} | {times[2] / times[1]:.2f} |")


if __name__ == "__main__":
    main()
