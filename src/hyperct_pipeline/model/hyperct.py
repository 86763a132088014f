"""HyperCT: one frozen ViT, one shared classification head, and per-task adapters from a hypernetwork.

    triplets of slices -> adapted ViT -> CLS tokens -> masked mean -> LayerNorm + Linear -> one logit

The rivals run through the same code: adapters from a table, one for all tasks, or none, and heads per task.

Shape letters: B scans, N triplets per scan, H and W pixels, K tasks, M pairs of scan and task, D width, L adapted
blocks, r rank, T tokens.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hyperct_pipeline.model.adapter_table import AdapterTable
from hyperct_pipeline.model.backbone import patch_grid
from hyperct_pipeline.model.blocks import (
    Backbone,
    Linear,
    adaptable_blocks,
    attend,
    embed,
    finish_block,
    run_block,
    site_linears,
    site_shapes,
)
from hyperct_pipeline.model.compiled_blocks import CompiledBlocks
from hyperct_pipeline.model.heads import AttentionHead, MeanHead
from hyperct_pipeline.model.hypernetwork import CoreHypernetwork, Hypernetwork
from hyperct_pipeline.model.lora import (
    Adapters,
    LowRankLinears,
    SharedProducts,
    check_adapters,
    run_adapted_block,
)
from hyperct_pipeline.model.precision import compute_type
from hyperct_pipeline.model.settings import HyperCTConfig, Precision
from hyperct_pipeline.model.task_scorer import TaskScorer
from hyperct_pipeline.model.task_weights import BackboneLinears, ResidentWeights, shared_products
from hyperct_pipeline.volumes.slices import IMAGENET_MEAN, IMAGENET_STD

__all__ = ["AllAdapters", "HyperCT", "HyperCTConfig"]

AllAdapters = dict[str, tuple[Tensor, Tensor]]
"""Per adapted site A (K, L, r, n_in) and B (K, L, n_out, r)."""


class HyperCT(nn.Module):
    """One logit per scan and task.

    Args:
        backbone: frozen timm ViT; its parameters stay without gradient, except under `hard_sharing`.
        tasks: task ids, in the order of the task index.
        config: method, sizes and starting values.

    Attributes:
        precision: what `forward` computes matrix products in.
        checkpointing: recompute each block in the backward pass instead of keeping its activations.
    """

    def __init__(self, backbone: Backbone, tasks: Sequence[str], config: HyperCTConfig) -> None:
        super().__init__()
        self.tasks, self.config, self.design = tuple(tasks), config, config.design
        self.precision: Precision = "fp32"
        self.checkpointing = False
        self.backbone = backbone.eval().requires_grad_(self.design.trains_backbone)
        self.blocks = adaptable_blocks(backbone)
        self.first = len(self.blocks) if self.design.generator == "none" else config.adapt_from_block
        if self.first >= len(self.blocks) and self.design.generator != "none":
            raise ValueError(f"model.adapt_from_block is {self.first}, but the backbone has {len(self.blocks)} blocks")
        self._run_adapted: Callable[..., Tensor] = run_adapted_block
        self._backbone_linears = BackboneLinears(backbone, self.blocks, frozen=not self.design.trains_backbone)
        self._resident = ResidentWeights()
        shapes = site_shapes(self.blocks[0])
        self.shapes = {site: shapes[site] for site in config.ordered_sites}
        with torch.random.fork_rng(devices=[]):  # layers draw from the global generator when built
            self.hypernetwork = self._new_hypernetwork()
            self.table = self._new_table()
            width, n_logits = backbone.embed_dim, 1 if self.design.head == "shared" else len(self.tasks)
            self.head = (AttentionHead if self.design.head == "attention" else MeanHead)(width, n_logits)
        embeddings = torch.empty(len(self.tasks), config.task_dim)
        self.task_embeddings = nn.Parameter(embeddings) if self.design.has_embeddings else None
        self.new_embeddings: nn.Parameter | None = None  # of tasks that are being added, see `new_task`
        self._initialise()

    def _new_hypernetwork(self) -> Hypernetwork | None:
        if not self.design.has_embeddings:
            return None
        config = self.config
        kind = CoreHypernetwork if self.design.generator == "cores" else Hypernetwork
        return kind(
            self.shapes,
            n_blocks=self.n_adapted_blocks,
            rank=config.rank,
            task_dim=config.task_dim,
            latent=config.latent,
            head_in=self.design.head_in,
            dropout=config.dropout,
            head_norm=self.design.head_norm,
        )

    def _new_table(self) -> AdapterTable | None:
        kind = self.design.generator
        if self.design.has_embeddings or kind == "none":
            return None
        return AdapterTable(kind, self.shapes, self.n_adapted_blocks, self.config.rank, len(self.tasks))

    @torch.no_grad()
    def _initialise(self) -> None:
        generator = torch.Generator().manual_seed(self.config.seed)
        if self.hypernetwork is not None:
            assert self.task_embeddings is not None
            self.hypernetwork.initialise(self.design.init, generator)
            self.task_embeddings.normal_(0.0, self.design.embedding_std, generator=generator)
        if self.table is not None:
            self.table.initialise(generator)
        self.head.initialise(generator)

    @property
    def scale(self) -> float:
        """s in y = W x + s B A x."""
        return self.config.scale

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.backbone.parameters()).device

    @property
    def n_adapted_blocks(self) -> int:
        """L, the blocks that have adapters: the last ones."""
        return len(self.blocks) - self.first

    @property
    def grid_hw(self) -> tuple[int, int]:
        """Patches (rows, columns) of one image."""
        return patch_grid(self.backbone)

    @property
    def n_prefix_tokens(self) -> int:
        """CLS and register tokens, which come before the patches."""
        return int(self.backbone.num_prefix_tokens)

    def adapted_linears(self) -> list[dict[str, Linear]]:
        """The fp32 linears of each adapted block, by site."""
        return [site_linears(block) for block in self.blocks[self.first :]]

    def train(self, mode: bool = True) -> "HyperCT":
        """Training mode for everything but the backbone, whose layers behave the same in both."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forget_weights(self) -> None:
        """Drop merged weights that are kept for scoring."""
        self._resident.forget()

    def compile_blocks(self, backend: str = "inductor") -> None:
        """Run adapted blocks through torch.compile, without graph breaks."""
        self._run_adapted = CompiledBlocks(backend)

    def trainable_parameters(self) -> dict[str, nn.Parameter]:
        """Everything that is learned, by name: hypernetwork or table, task embeddings, head."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}

    def embeddings(self) -> Tensor:
        """Task embeddings (K, task_dim)."""
        assert self.task_embeddings is not None
        if self.new_embeddings is None:
            return self.task_embeddings
        return torch.cat([self.task_embeddings, self.new_embeddings])

    def adapters(self, task_index: Tensor) -> AllAdapters:
        """Task numbers (K,) to A (K, L, r, n_in) and B (K, L, n_out, r) per site; no dropout in eval mode.

        A method without adapters gives updates of rank 1 that are zero, for the whole backbone.
        """
        generated: AllAdapters
        if self.hypernetwork is not None:
            generated = self.hypernetwork(self.embeddings()[task_index])
        elif self.table is not None:
            generated = self.table(task_index)
        else:
            shape = (len(task_index), len(self.blocks))
            zero = torch.zeros((), device=self.device)
            generated = {
                site: (zero.expand(*shape, 1, n_in), zero.expand(*shape, n_out, 1))
                for site, (n_out, n_in) in self.shapes.items()
            }
        return generated

    def forward(
        self,
        triplets: Tensor,
        mask: Tensor,
        task_index: Tensor,
        scan_index: Tensor | None = None,
        distinct: Tensor | None = None,
    ) -> Tensor:
        """Logit of each scan for its own task, or of pairs of scan and task.

        Adapters are generated once per distinct task. What lies before the first adapted block, and the products W x of
        its query, key and value, are computed once per scan.

        Args:
            triplets: float (B, N, 3, H, W), as `volumes.slices.triplets` makes them.
            mask: bool (B, N), False where there is no triplet.
            task_index: int64 (B,), numbers into `tasks`; or (M,) with `scan_index`. On the CPU, whatever the device of
                the model, nothing has to wait for the device.
            scan_index: int64 (M,), numbers of the scans that the tasks are asked of; None: scan k for task k.
            distinct: int64 (U,) on the CPU, rising: tasks to generate adapters for, `task_index` among them. None:
                those of `task_index`. Given, parts of a batch draw the same dropout as the whole.

        Returns:
            Logits (B,) or (M,).

        Raises:
            ValueError: naming the module whose shape does not fit.
        """
        if torch.is_grad_enabled():
            self._resident.forget()
        tokens, rope = self.before_adapters(triplets)
        if not self.design.task_specific:
            return self.logits_of_features(self.common_features(tokens, rope, len(mask)), mask, task_index, scan_index)
        task_index, adapters_of = self._pair_adapters(task_index, distinct)
        scan_index = None if scan_index is None else scan_index.to(self.device, non_blocking=True)
        linears, last = self.linears(compute_type(self.precision)), len(self.blocks) - 1
        begin = self.first
        if scan_index is not None and len(scan_index) > len(triplets):
            tokens = self._first_adapted(tokens, rope, mask, linears[begin], adapters_of(begin), scan_index)
            begin += 1
        elif scan_index is not None:
            tokens = _pairs(tokens, mask, scan_index)
        for index in range(begin, len(self.blocks)):
            tokens = self._adapted(index, tokens, rope, linears[index], adapters_of(index), index == last)
        mask = mask if scan_index is None else mask[scan_index]
        return _of_task(self.head.scores(self.cls_features(tokens, len(mask)), mask), task_index)

    @torch.no_grad()
    def logits_all_tasks(
        self, triplets: Tensor, mask: Tensor, tasks: Sequence[int] | None = None, precision: Precision | None = None
    ) -> Tensor:
        """Logits (B, K) of every scan for every task (or the given task numbers), without gradients.

        One task at a time, its adapters merged into the weights: the cost of a plain pass through the backbone. The
        merged weights of all tasks are kept while they fit into half of the free memory and no parameter changes; on a
        CPU only up to 1 GiB of them, because those of a large model cost little to make beside their use.

        Args:
            precision: None: fp16 on CUDA, fp32 on a CPU. fp16 is checked for its range when weights are merged.
        """
        return TaskScorer(self, self._resident).logits(triplets, mask, tasks, precision)

    def last_block_input(self, triplets: Tensor, mask: Tensor, task_index: Tensor) -> tuple[Tensor, Tensor]:
        """Input x (B * N, T, D) of the last block's attention, after its norm, and the logits (B,).

        x is a leaf that requires a gradient, so Grad-CAM is the gradient of a logit with respect to x. The rest of
        the model is left without gradients. Images of a scan lie next to each other in x.
        """
        blocks, last = self.blocks, len(self.blocks) - 1
        linears = self.linears(torch.float32)
        with torch.no_grad():
            tokens, rope = embed(self.backbone, self._images(triplets))
            task_index, adapters_of = self._pair_adapters(task_index)
            for index in range(last):
                update = LowRankLinears(linears[index], adapters_of(index), self.scale)
                tokens = run_block(blocks[index], tokens, rope, update)
            normed = blocks[-1].norm1(tokens)
        with torch.enable_grad():
            normed = normed.detach().requires_grad_()
            update = LowRankLinears(linears[last], adapters_of(last), self.scale)
            attended = attend(blocks[-1], normed, rope, update, cls_only=True)
            tokens = finish_block(blocks[-1], tokens[:, :1], attended, update)
            scores = self.head.scores(self.cls_features(tokens, len(mask)), mask)
            return normed, _of_task(scores, task_index)

    def features(self, triplets: Tensor) -> Tensor:
        """CLS tokens (B, N, D) of methods whose tasks share the backbone's output."""
        if self.design.task_specific:
            raise ValueError(f"method {self.config.method}: every task has features of its own")
        tokens, rope = self.before_adapters(triplets)
        return self.common_features(tokens, rope, len(triplets))

    def logits_of_features(
        self, features: Tensor, mask: Tensor, task_index: Tensor, scan_index: Tensor | None = None
    ) -> Tensor:
        """Logits (B,) or (M,) from CLS tokens (B, N, D) that all tasks share; arguments as `forward` has them."""
        scores = self.head.scores(features, mask)
        if scan_index is not None:
            scores = scores[scan_index.to(self.device, non_blocking=True)]
        return _of_task(scores, task_index.to(self.device, non_blocking=True))

    def before_adapters(self, triplets: Tensor, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor | None]:
        """Tokens (B * N, T, D) before the first adapted block, and the rotary embedding; the CLS token at the end."""
        tokens, rope = embed(self.backbone, self._images(triplets))
        linears, last = self.linears(dtype or compute_type(self.precision)), len(self.blocks) - 1
        for index in range(self.first):
            tokens = self._adapted(index, tokens, rope, linears[index], {}, index == last)
        return tokens, rope

    def common_features(
        self, tokens: Tensor, rope: Tensor | None, n_scans: int, dtype: torch.dtype | None = None
    ) -> Tensor:
        """CLS tokens (B, N, D) where all tasks share one adapter or none."""
        linears, last = self.linears(dtype or compute_type(self.precision)), len(self.blocks) - 1
        generated = self.adapters(torch.zeros(1, dtype=torch.long, device=self.device)) if self.table else {}
        for index in range(self.first, len(self.blocks)):
            own = {site: (a[:, index - self.first], b[:, index - self.first]) for site, (a, b) in generated.items()}
            tokens = self._adapted(index, tokens, rope, linears[index], own, index == last)
        return self.cls_features(tokens, n_scans)

    def _adapted(
        self, index: int, tokens: Tensor, rope: Tensor | None, linears: dict[str, Linear], own: Adapters, last: bool
    ) -> Tensor:
        arguments = (self.blocks[index], tokens, rope, linears, own, self.scale, last)
        if self.checkpointing and torch.is_grad_enabled():
            output: Tensor = checkpoint(self._run_adapted, *arguments, use_reentrant=False)
            return output
        return self._run_adapted(*arguments)

    def _first_adapted(
        self, tokens: Tensor, rope: Tensor | None, mask: Tensor, linears: dict[str, Linear], own: Adapters,
        scan_index: Tensor,
    ) -> Tensor:  # fmt: skip
        """The first adapted block, from scans (B * N, T, D) to pairs (M * N, T, D)."""
        block, cls_only = self.blocks[self.first], self.first == len(self.blocks) - 1
        rest = LowRankLinears(linears, own, self.scale)
        normed = block.norm1(tokens).to(rest.dtype)
        products = {s: _pairs(y, mask, scan_index) for s, y in shared_products(linears, normed, cls_only).items()}
        linear = SharedProducts(rest, products, {s: own[s] for s in products if s in own}, self.scale)
        attended = attend(block, _pairs(normed, mask, scan_index), rope, linear, cls_only)
        tokens = _pairs(tokens[:, :1] if cls_only else tokens, mask, scan_index)
        return finish_block(block, tokens, attended, linear)

    def _pair_adapters(
        self, task_index: Tensor, distinct: Tensor | None = None
    ) -> tuple[Tensor, Callable[[int], Adapters]]:
        """Task numbers on the device, and for each block the adapters of every pair, generated once per task."""
        if task_index.device.type == "cpu":  # on the host, so that the device is not waited for
            numbers = np.unique(task_index.numpy()) if distinct is None else distinct.numpy()
            unique, position = torch.from_numpy(numbers), torch.from_numpy(np.searchsorted(numbers, task_index.numpy()))
        else:
            unique, position = torch.unique(task_index, return_inverse=True)
        unique, position, task_index = (
            part.to(self.device, non_blocking=True) for part in (unique, position, task_index)
        )
        stacks = {
            site: (a.index_select(0, position).unbind(1), b.index_select(0, position).unbind(1))
            for site, (a, b) in self.adapters(unique).items()
        }
        skipped = 0 if self.design.generator == "none" else self.first

        def adapters_of(index: int) -> Adapters:
            if index < skipped:
                return {}
            adapters = {site: (a[index - skipped], b[index - skipped]) for site, (a, b) in stacks.items()}
            check_adapters(adapters, self.shapes, index)
            return adapters

        return task_index, adapters_of

    def linears(self, dtype: torch.dtype) -> list[dict[str, Linear]]:
        """The backbone's linears in a type, block after block."""
        return self._backbone_linears.of(dtype)

    def cls_features(self, tokens: Tensor, n_scans: int) -> Tensor:
        """CLS tokens (B, N, D) after the final norm, from (B * N, T, D)."""
        normed: Tensor = self.backbone.norm(tokens[:, 0])
        return normed.view(n_scans, -1, normed.shape[-1])

    def _images(self, triplets: Tensor) -> Tensor:
        """All triplets of all scans as one batch of images (B * N, 3, H, W).

        The reference layout repeats what the public code does: its input (B, 3, N, H, W) is viewed as
        (B * N, 3, H, W), so image j holds the channel-major planes 3j to 3j + 2 instead of neighbouring slices,
        and only then are the channels normalised.
        """
        n_scans, n_images, *shape = triplets.shape
        if self.design.slice_layout == "triplets":
            return triplets.flatten(0, 1)
        mean = torch.as_tensor(IMAGENET_MEAN, device=triplets.device)[:, None, None]
        std = torch.as_tensor(IMAGENET_STD, device=triplets.device)[:, None, None]
        planes = (triplets * std + mean).transpose(1, 2).reshape(n_scans * n_images, *shape)
        return (planes - mean) / std


def _pairs(x: Tensor, mask: Tensor, scan_index: Tensor) -> Tensor:
    """Rows of scans (B * N, ...) repeated for pairs of scan and task (M * N, ...)."""
    return x.view(*mask.shape, *x.shape[1:])[scan_index].flatten(0, 1)


def _of_task(scores: Tensor, task_index: Tensor) -> Tensor:
    """Logits (M,) from (M, 1) of one logit for all tasks, or from (M, K)."""
    if scores.shape[1] == 1:
        return scores.squeeze(1)
    return scores.gather(1, task_index[:, None]).squeeze(1)
