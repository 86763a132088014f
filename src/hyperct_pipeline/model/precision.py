"""What matrix products are computed in. The residual stream, LayerNorm and the patch embedding stay in fp32."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from hyperct_pipeline.model.settings import Precision

_TYPES = {"fp32": torch.float32, "tf32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def compute_type(precision: Precision) -> torch.dtype:
    """Type of weights and activations in matrix products."""
    return _TYPES[precision]


def inference_precision(device: torch.device) -> Precision:
    """fp16 on CUDA, whose adapters come closer to fp32 than bf16's at the same speed; fp32 on a CPU."""
    return "fp16" if device.type == "cuda" else "fp32"


@contextmanager
def matmul_precision(precision: Precision) -> Iterator[None]:
    """Let fp32 products be fp32, or TF32 where asked for; torch's global setting is put back afterwards."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
