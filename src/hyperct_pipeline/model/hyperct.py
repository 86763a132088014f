"""HyperCT: one frozen ViT, one shared classification head, and per-task adapters from a hypernetwork.

    triplets of slices -> adapted ViT -> CLS tokens -> masked mean -> LayerNorm + Linear -> one logit

Shape letters: B scans, N triplets per scan, H and W pixels, K tasks, D width, L blocks, r rank, T tokens.
"""

from collections.abc import Callable, Sequence

import torch
from timm.models.eva import Eva
from torch import Tensor, nn

from hyperct_pipeline.model.backbone import patch_grid
from hyperct_pipeline.model.hypernetwork import Hypernetwork
from hyperct_pipeline.model.lora import (
    SiteLinear,
    adaptable_blocks,
    attend,
    check_adapters,
    embed,
    finish_block,
    low_rank,
    merged,
    run_block,
    site_shapes,
)
from hyperct_pipeline.model.settings import HyperCTConfig
from hyperct_pipeline.volumes.slices import IMAGENET_MEAN, IMAGENET_STD

__all__ = ["AllAdapters", "HyperCT", "HyperCTConfig"]

# The published 0.02 leaves the generated adapters nearly alike for all tasks.
_EMBEDDING_STD = {"default": 1.0, "reference": 0.02}

AllAdapters = dict[str, tuple[Tensor, Tensor]]
"""Per site A (K, L, r, n_in) and B (K, L, n_out, r)."""


class HyperCT(nn.Module):
    """One logit per scan and task.

    Args:
        backbone: frozen timm ViT; its parameters stay without gradient.
        tasks: task ids, in the order of the task index.
        config: sizes and starting values.
    """

    def __init__(self, backbone: Eva, tasks: Sequence[str], config: HyperCTConfig) -> None:
        super().__init__()
        self.tasks, self.config = tuple(tasks), config
        self.backbone = backbone.eval().requires_grad_(False)
        self._blocks = adaptable_blocks(backbone)
        with torch.random.fork_rng(devices=[]):  # layers draw from the global generator when built
            self.hypernetwork = Hypernetwork(
                site_shapes(self._blocks[0]),
                n_blocks=len(self._blocks),
                rank=config.rank,
                task_dim=config.task_dim,
                latent=config.latent,
                head_in=config.head_in,
                dropout=config.dropout,
                head_norm=config.head_norm,
            )
            self.head = nn.Sequential(nn.LayerNorm(backbone.embed_dim), nn.Linear(backbone.embed_dim, 1))
        self.task_embeddings = nn.Parameter(torch.empty(len(self.tasks), config.task_dim))
        self._initialise()

    @torch.no_grad()
    def _initialise(self) -> None:
        generator = torch.Generator().manual_seed(self.config.seed)
        self.hypernetwork.initialise(self.config.init, generator)
        self.task_embeddings.normal_(0.0, _EMBEDDING_STD[self.config.init], generator=generator)
        bound = self.backbone.embed_dim**-0.5
        for parameter in self.head[1].parameters():
            parameter.uniform_(-bound, bound, generator=generator)

    @property
    def scale(self) -> float:
        """s in y = W x + s B A x."""
        return self.config.scale

    @property
    def grid_hw(self) -> tuple[int, int]:
        """Patches (rows, columns) of one image."""
        return patch_grid(self.backbone)

    @property
    def n_prefix_tokens(self) -> int:
        """CLS and register tokens, which come before the patches."""
        return int(self.backbone.num_prefix_tokens)

    def train(self, mode: bool = True) -> "HyperCT":
        """Training mode for everything but the backbone, which is frozen."""
        super().train(mode)
        self.backbone.eval()
        return self

    def trainable_parameters(self) -> dict[str, nn.Parameter]:
        """Everything that is learned, by name: hypernetwork, task embeddings, shared head."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}

    def adapters(self, task_index: Tensor) -> AllAdapters:
        """Task numbers (K,) to A (K, L, r, n_in) and B (K, L, n_out, r) per site; no dropout in eval mode."""
        generated: AllAdapters = self.hypernetwork(self.task_embeddings[task_index])
        return generated

    def forward(
        self,
        triplets: Tensor,
        mask: Tensor,
        task_index: Tensor,
        scan_index: Tensor | None = None,
    ) -> Tensor:
        """Logit of each scan for its own task, or of pairs of scan and task.

        Adapters are generated once per distinct task, and what lies before the first block is computed once per scan.

        Args:
            triplets: float (B, N, 3, H, W), as `volumes.slices.triplets` makes them.
            mask: bool (B, N), False where there is no triplet.
            task_index: int64 (B,), numbers into `tasks`; or (M,) with `scan_index`.
            scan_index: int64 (M,), numbers of the scans that the tasks are asked of; None: scan k for task k.

        Returns:
            Logits (B,) or (M,).

        Raises:
            ValueError: naming the module whose shape does not fit.
        """
        tokens, rope = embed(self.backbone, self._images(triplets))
        if scan_index is not None:
            tokens = tokens.view(*mask.shape, *tokens.shape[1:])[scan_index].flatten(0, 1)  # (M * N, T, D)
            mask = mask[scan_index]
        linear_of = self._low_rank_linears(task_index)
        last = len(self._blocks) - 1
        for index, block in enumerate(self._blocks):
            tokens = run_block(block, tokens, rope, linear_of(index), cls_only=index == last)
        return self._logits(tokens, mask)

    @torch.no_grad()
    def logits_all_tasks(
        self,
        triplets: Tensor,
        mask: Tensor,
        tasks: Sequence[int] | None = None,
    ) -> Tensor:
        """Logits (B, K) of every scan for every task (or the given task numbers), without gradients.

        One task at a time, its adapters merged into the weights: the cost of a plain pass through the backbone.
        """
        if self.config.slice_layout == "triplets":  # triplets that no scan has come last, and would only cost time
            used = mask.any(dim=0).nonzero()
            longest = int(used.max()) + 1 if len(used) else 1
            triplets, mask = triplets[:, :longest], mask[:, :longest]
        embedded, rope = embed(self.backbone, self._images(triplets))
        last = len(self._blocks) - 1
        columns = []
        for task in range(len(self.tasks)) if tasks is None else tasks:
            linear_of = self._merged_linears(task)
            tokens = embedded
            for index, block in enumerate(self._blocks):
                tokens = run_block(block, tokens, rope, linear_of(index), cls_only=index == last)
            columns.append(self._logits(tokens, mask))
        return torch.stack(columns, dim=1)

    def last_block_input(
        self,
        triplets: Tensor,
        mask: Tensor,
        task_index: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Input x (B * N, T, D) of the last block's attention, after its norm, and the logits (B,).

        x is a leaf that requires a gradient, so Grad-CAM is the gradient of a logit with respect to x. The rest of
        the model is left without gradients. Images of a scan lie next to each other in x.
        """
        blocks = self._blocks
        with torch.no_grad():
            tokens, rope = embed(self.backbone, self._images(triplets))
            linear_of = self._low_rank_linears(task_index)
            for index, block in enumerate(blocks[:-1]):
                tokens = run_block(block, tokens, rope, linear_of(index))
            normed = blocks[-1].norm1(tokens)
        with torch.enable_grad():
            normed = normed.detach().requires_grad_()
            linear = linear_of(len(blocks) - 1)
            attended = attend(blocks[-1], normed, rope, linear, cls_only=True)
            tokens = finish_block(blocks[-1], tokens[:, :1], attended, linear)
            return normed, self._logits(tokens, mask)

    def _low_rank_linears(self, task_index: Tensor) -> Callable[[int], SiteLinear]:
        """For each block its linears, with one update per scan."""
        unique, position = torch.unique(task_index, return_inverse=True)
        stacks = {
            site: (a.index_select(0, position).unbind(1), b.index_select(0, position).unbind(1))
            for site, (a, b) in self.adapters(unique).items()
        }

        def linear_of(index: int) -> SiteLinear:
            adapters = {site: (a[index], b[index]) for site, (a, b) in stacks.items()}
            check_adapters(adapters, self.hypernetwork.shapes, index)
            return low_rank(self._blocks[index], adapters, self.scale)

        return linear_of

    def _merged_linears(self, task: int) -> Callable[[int], SiteLinear]:
        """For each block its linears, with the update of one task merged into the weights."""
        generated = self.adapters(torch.tensor([task], device=self.task_embeddings.device))

        def linear_of(index: int) -> SiteLinear:
            adapters = {site: (a[0, index], b[0, index]) for site, (a, b) in generated.items()}
            check_adapters(adapters, self.hypernetwork.shapes, index)
            return merged(self._blocks[index], adapters, self.scale)

        return linear_of

    def _images(self, triplets: Tensor) -> Tensor:
        """All triplets of all scans as one batch of images (B * N, 3, H, W).

        The reference layout repeats what the public code does: its input (B, 3, N, H, W) is viewed as
        (B * N, 3, H, W), so image j holds the channel-major planes 3j to 3j + 2 instead of neighbouring slices,
        and only then are the channels normalised.
        """
        n_scans, n_images, *shape = triplets.shape
        if self.config.slice_layout == "triplets":
            return triplets.flatten(0, 1)
        mean = torch.as_tensor(IMAGENET_MEAN, device=triplets.device)[:, None, None]
        std = torch.as_tensor(IMAGENET_STD, device=triplets.device)[:, None, None]
        planes = (triplets * std + mean).transpose(1, 2).reshape(n_scans * n_images, *shape)
        return (planes - mean) / std

    def _logits(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Mean of the CLS tokens (B * N, T, D) of the real triplets (B, N), through the shared head: logits (B,).

        A scan without any real triplet falls back to its first image, as the reference does.
        """
        cls_tokens = self.backbone.norm(tokens[:, 0]).view(*mask.shape, -1)  # (B, N, D)
        empty = ~mask.any(dim=1)
        weight = mask.to(cls_tokens.dtype)
        weight = torch.cat([weight[:, :1] + empty[:, None], weight[:, 1:]], dim=1)
        features = (cls_tokens * weight[..., None]).sum(dim=1) / weight.sum(dim=1, keepdim=True)
        logits: Tensor = self.head(features)
        return logits.squeeze(1)
