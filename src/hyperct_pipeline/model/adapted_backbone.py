"""A frozen ViT whose last blocks run with low-rank adapters that come from outside.

Shape letters: B scans, N triplets per scan, H and W pixels, D width, L adapted blocks, T tokens.
"""

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hyperct_pipeline.model.backbone import patch_grid
from hyperct_pipeline.model.blocks import Backbone, Linear, adaptable_blocks, embed, site_linears, site_shapes
from hyperct_pipeline.model.compiled_blocks import CompiledBlocks
from hyperct_pipeline.model.image_layout import images_of
from hyperct_pipeline.model.lora import Adapters, run_adapted_block
from hyperct_pipeline.model.precision import compute_type
from hyperct_pipeline.model.settings import HyperCTConfig, Precision
from hyperct_pipeline.model.task_weights import BackboneLinears


class AdaptedBackbone(nn.Module):
    """Blocks before `first` as they are, the others with adapters.

    Args:
        backbone: timm ViT; its parameters stay without gradient, except under `hard_sharing`.
        config: method, adapted sites and blocks, layout of the images.

    Attributes:
        precision: what matrix products of training are computed in.
        checkpointing: recompute each block in the backward pass instead of keeping its activations.
        first: number of the first adapted block; that of all blocks for a method without adapters.
        shapes: (n_out, n_in) of each adapted site.

    Raises:
        ValueError: no block is left to adapt, or a block has parts that cannot be run here.
    """

    def __init__(self, backbone: Backbone, config: HyperCTConfig) -> None:
        super().__init__()
        self.config, self.design = config, config.design
        self.precision: Precision = "fp32"
        self.checkpointing = False
        self.backbone = backbone.eval().requires_grad_(self.design.trains_backbone)
        self.blocks = adaptable_blocks(backbone)
        self.first = len(self.blocks) if self.design.generator == "none" else config.adapt_from_block
        if self.first >= len(self.blocks) and self.design.generator != "none":
            raise ValueError(f"model.adapt_from_block is {self.first}, but the backbone has {len(self.blocks)} blocks")
        self._run_block: Callable[..., Tensor] = run_adapted_block
        self._linears = BackboneLinears(backbone, self.blocks, frozen=not self.design.trains_backbone)
        shapes = site_shapes(self.blocks[0])
        self.shapes = {site: shapes[site] for site in config.ordered_sites}

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

    def linears(self, dtype: torch.dtype) -> list[dict[str, Linear]]:
        """The backbone's linears in a type, block after block."""
        return self._linears.of(dtype)

    def train(self, mode: bool = True) -> Self:
        """Training mode for everything but the backbone, whose layers behave the same in both."""
        super().train(mode)
        self.backbone.eval()
        return self

    def compile_blocks(self, backend: str = "inductor") -> None:
        """Run adapted blocks through torch.compile, without graph breaks."""
        self._run_block = CompiledBlocks(backend)

    def embedded(self, triplets: Tensor) -> tuple[Tensor, Tensor | None]:
        """Tokens (B * N, T, D) of triplets (B, N, 3, H, W) before the first block, and the rotary embedding."""
        return embed(self.backbone, images_of(triplets, self.design.slice_layout))

    def before_adapters(self, triplets: Tensor, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor | None]:
        """Tokens (B * N, T, D) before the first adapted block, and the rotary embedding; the CLS token at the end."""
        tokens, rope = self.embedded(triplets)
        linears = self.linears(dtype or compute_type(self.precision))
        for index in range(self.first):
            tokens = self.run_adapted(index, tokens, rope, linears[index], {})
        return tokens, rope

    def run_adapted(
        self, index: int, tokens: Tensor, rope: Tensor | None, linears: dict[str, Linear], adapters: Adapters
    ) -> Tensor:
        """Block `index` with one adapter per scan, (B * N, T, D) to the same; of the last one the CLS row alone."""
        arguments = (self.blocks[index], tokens, rope, linears, adapters, self.scale, index == len(self.blocks) - 1)
        if self.checkpointing and torch.is_grad_enabled():
            output: Tensor = checkpoint(self._run_block, *arguments, use_reentrant=False)
            return output
        return self._run_block(*arguments)

    def cls_features(self, tokens: Tensor, n_scans: int) -> Tensor:
        """CLS tokens (B, N, D) after the final norm, from (B * N, T, D)."""
        normed: Tensor = self.backbone.norm(tokens[:, 0])
        return normed.view(n_scans, -1, normed.shape[-1])
