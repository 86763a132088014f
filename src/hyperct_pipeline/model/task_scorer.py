"""Scores of many scans for all tasks: one task at a time, its update merged into the weights.

Shape letters: B scans, N triplets per scan, K tasks, T tokens, D width.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hyperct_pipeline.errors import ConfigError
from hyperct_pipeline.model.blocks import attend, finish_block, run_block
from hyperct_pipeline.model.precision import compute_type, inference_precision, matmul_precision
from hyperct_pipeline.model.settings import Precision
from hyperct_pipeline.model.task_weights import (
    ResidentWeights,
    TaskWeights,
    shared_products,
    task_bytes,
    version_of,
)

if TYPE_CHECKING:
    from hyperct_pipeline.model.hyperct import HyperCT

_AIR, _BONE = -2.0, 2.5  # about the ends of the window, after normalisation


class TaskScorer:
    """Scores with a model as it is now.

    The model keeps the weights, and no scorer: a cycle between the two would hold device memory until Python's
    collector comes by.

    Args:
        model: in eval mode.
        resident: merged weights of earlier calls, used again while nothing has changed.
    """

    def __init__(self, model: "HyperCT", resident: ResidentWeights) -> None:
        self._model, self._resident = model, resident

    @torch.no_grad()
    def logits(
        self, triplets: Tensor, mask: Tensor, tasks: Sequence[int] | None = None, precision: Precision | None = None
    ) -> Tensor:
        """Logits (B, K); arguments as `HyperCT.logits_all_tasks` has them."""
        model = self._model
        if model.design.slice_layout == "triplets":  # triplets that no scan has come last, and would only cost time
            used = mask.any(dim=0).nonzero()
            longest = int(used.max()) + 1 if len(used) else 1
            triplets, mask = triplets[:, :longest], mask[:, :longest]
        numbers = list(range(len(model.tasks)) if tasks is None else tasks)
        precision = precision or inference_precision(model.device)
        dtype = compute_type(precision)
        with matmul_precision(precision):
            if dtype == torch.float16 and not model.design.task_specific:
                self._refuse_shared_overflow()
            tokens, rope = model.before_adapters(triplets, dtype)
            if not model.design.task_specific:
                features = model.common_features(tokens, rope, len(mask), dtype)
                return model.head.scores(features, mask).expand(-1, len(model.tasks))[:, numbers]
            shared = self._shared_input(tokens, dtype)
            columns = []
            for task in numbers:
                x = self._task_tokens(tokens, rope, shared, self._weights_of(task, dtype))
                scores = model.head.scores(model.cls_features(x, len(mask)), mask)
                columns.append(scores[:, 0 if scores.shape[1] == 1 else task])
        return torch.stack(columns, dim=1)

    def _weights_of(self, task: int, dtype: torch.dtype) -> TaskWeights:
        """Merged weights of a task."""
        model = self._model

        def make(at_once: bool) -> TaskWeights:
            index = torch.tensor([task], device=model.device)
            generated = {site: (a[0], b[0]) for site, (a, b) in model.adapters(index).items()}
            weights = TaskWeights(model.adapted_linears(), generated, model.scale, dtype, model.first, at_once)
            if dtype == torch.float16:
                self._refuse_overflow(task, weights)
            return weights

        size = task_bytes(model.adapted_linears(), dtype) * len(model.tasks)
        return self._resident.get(self._state(dtype), task, make, size, model.device)

    def _state(self, dtype: torch.dtype) -> object:
        """What weights made for scoring belong to."""
        model = self._model
        return dtype, model.device, model.training, version_of(model)

    def _shared_input(self, tokens: Tensor, dtype: torch.dtype) -> tuple[Tensor, dict[str, Tensor]]:
        """What all tasks of a scan share in the first adapted block: the normalised input, and W x of it."""
        model = self._model
        block, cls_only = model.blocks[model.first], model.first == len(model.blocks) - 1
        normed = block.norm1(tokens).to(dtype)
        return normed, shared_products(model.linears(dtype)[model.first], normed, cls_only)

    def _task_tokens(
        self, tokens: Tensor, rope: Tensor | None, shared: tuple[Tensor, dict[str, Tensor]], weights: TaskWeights
    ) -> Tensor:
        """The CLS token (B * N, 1, D) of a task after the last block, from the input of the first adapted one."""
        blocks, first, (normed, products) = self._model.blocks, self._model.first, shared
        last = len(blocks) - 1
        block, cls_only, linear = blocks[first], first == last, weights.first(products)
        attended = attend(block, normed, rope, linear, cls_only)
        x = finish_block(block, tokens[:, :1] if cls_only else tokens, attended, linear)
        for index, whole in enumerate(weights.later(), start=first + 1):
            x = run_block(blocks[index], x, rope, whole, cls_only=index == last)
        return x

    def _refuse_overflow(self, task: int, weights: TaskWeights) -> None:
        """The probe must come through in fp16 with a task's weights; looked at once, when weights are made.

        Raises ConfigError naming the task.
        """
        model = self._model
        tokens, rope = model.before_adapters(self._probe(), torch.float16)
        shared = self._shared_input(tokens, torch.float16)
        if not bool(self._task_tokens(tokens, rope, shared, weights).isfinite().all()):
            raise ConfigError(
                f"task {model.tasks[task]}: activations are beyond the range of fp16; score with precision bf16 or fp32"
            )

    def _refuse_shared_overflow(self) -> None:
        """The same for methods whose tasks share the backbone's output; looked at once per state of the model."""
        model, state = self._model, self._state(torch.float16)
        if self._resident.fits_fp16 == state:
            return
        tokens, rope = model.before_adapters(self._probe(), torch.float16)
        if not bool(model.common_features(tokens, rope, 1, torch.float16).isfinite().all()):
            raise ConfigError(
                f"method {model.config.method}: activations are beyond the range of fp16; "
                "score with precision bf16 or fp32"
            )
        self._resident.fits_fp16 = state

    def _probe(self) -> Tensor:
        """Images of plain air, of bone and of noise as triplets (1, 3, 3, H, W)."""
        rows, columns = self._model.backbone.patch_embed.img_size
        noise = torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))
        images = torch.stack([torch.full_like(noise, _AIR), torch.full_like(noise, _BONE), noise])
        return images[None, :, None].expand(-1, -1, 3, -1, -1).to(self._model.device)
