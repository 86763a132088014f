"""Low-rank updates of a ViT's linears, and a forward through timm's blocks that applies them.

    y = W x + s B A x,   A (r, n_in), B (n_out, r)

Six sites per block: query, key and value (the three parts of timm's fused qkv), attention output, MLP up, MLP
down. No hooks: the block is run here, step by step, with the linears it is given.

Shape letters: S scans, N images per scan, T tokens, D width, r rank.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from timm.layers.mlp import Mlp
from timm.layers.pos_embed_sincos import apply_rot_embed_cat
from timm.models.eva import Eva, EvaAttention, EvaBlock
from torch import Tensor, nn
from torch.nn.functional import linear as linear_map
from torch.nn.functional import scaled_dot_product_attention

SITES = (
    "attention_query",
    "attention_key",
    "attention_value",
    "attention_output",
    "mlp_up",
    "mlp_down",
)

Adapters = Mapping[str, tuple[Tensor, Tensor]]
"""Per site A and B of one block: (S, r, n_in) and (S, n_out, r) per scan, or without S for one task."""

SiteLinear = Callable[[str, Tensor], Tensor]
"""The linear of a site, applied to (S * N, T, n_in)."""


class Linear(NamedTuple):
    """Weight (n_out, n_in) and bias (n_out,), which may be absent."""

    weight: Tensor
    bias: Tensor | None


def per_sample_lora(x: Tensor, lora_a: Tensor, lora_b: Tensor) -> Tensor:
    """Low-rank update in which every sample has its own A and B.

    Args:
        x: (S, T, n_in).
        lora_a: (S, r, n_in).
        lora_b: (S, n_out, r).

    Returns:
        (S, T, n_out).
    """
    return x @ lora_a.mT @ lora_b.mT  # via (S, T, r)


def site_modules(index: int) -> dict[str, str]:
    """For each site the name of the timm module that holds its weight, in block `index`."""
    prefix = f"blocks.{index}"
    names = (f"{prefix}.attn.qkv",) * 3 + (f"{prefix}.attn.proj", f"{prefix}.mlp.fc1", f"{prefix}.mlp.fc2")
    return dict(zip(SITES, names, strict=True))


def adaptable_blocks(backbone: Eva) -> list[EvaBlock]:
    """The transformer blocks of a backbone.

    Raises ValueError naming the module when a block has parts that the forward here does not run.
    """
    return [_checked(block, f"blocks.{index}") for index, block in enumerate(backbone.blocks)]


def site_shapes(block: EvaBlock) -> dict[str, tuple[int, int]]:
    """(n_out, n_in) of each site, the same in every block of a backbone."""
    return {site: (linear.weight.shape[0], linear.weight.shape[1]) for site, linear in site_linears(block).items()}


def _checked(block: nn.Module, name: str) -> EvaBlock:
    if not isinstance(block, EvaBlock):
        raise ValueError(f"{name}: expected timm's EvaBlock, found {type(block).__name__}")
    attention, mlp = block.attn, block.mlp
    if not isinstance(attention, EvaAttention) or attention.qkv is None:
        raise ValueError(f"{name}.attn: expected EvaAttention with fused qkv, found {type(attention).__name__}")
    extras = {"q_norm": attention.q_norm, "k_norm": attention.k_norm, "norm": attention.norm}
    if found := [key for key, module in extras.items() if not isinstance(module, nn.Identity)]:
        raise ValueError(f"{name}.attn: norms inside attention are not supported, found {found}")
    if attention.gate is not None:
        raise ValueError(f"{name}.attn: gated attention is not supported")
    if not isinstance(mlp, Mlp) or not isinstance(mlp.norm, nn.Identity):
        raise ValueError(f"{name}.mlp: expected timm's plain Mlp, found {type(mlp).__name__}")
    return block


def site_linears(block: EvaBlock) -> dict[str, Linear]:
    """The frozen linears of a block by site; query, key and value are views of the fused qkv."""
    attention: Any = block.attn
    mlp: Any = block.mlp
    query, key, value = attention.qkv.weight.chunk(3)
    return {
        "attention_query": Linear(query, attention.q_bias),
        "attention_key": Linear(key, attention.k_bias),
        "attention_value": Linear(value, attention.v_bias),
        "attention_output": Linear(attention.proj.weight, attention.proj.bias),
        "mlp_up": Linear(mlp.fc1.weight, mlp.fc1.bias),
        "mlp_down": Linear(mlp.fc2.weight, mlp.fc2.bias),
    }


def frozen(block: EvaBlock) -> SiteLinear:
    """The block's own linears, without updates."""
    linears = site_linears(block)
    return lambda site, x: linear_map(x, *linears[site])


def low_rank(block: EvaBlock, adapters: Adapters, scale: float) -> SiteLinear:
    """The block's linears with one update per scan; images of a scan lie next to each other.

    Cheap while every scan has its own task (training): nothing of size n_out x n_in is made.
    """
    linears = site_linears(block)

    def apply(site: str, x: Tensor) -> Tensor:
        lora_a, lora_b = adapters[site]
        base = linear_map(x, *linears[site])  # (S * N, T, n_out)
        low = x.reshape(len(lora_a), -1, x.shape[-1]) @ lora_a.mT  # (S, N * T, r)
        # per_sample_lora with the sum folded in: one pass less over the largest tensor
        return torch.baddbmm(base.view(len(lora_a), -1, base.shape[-1]), low, lora_b.mT, alpha=scale).view_as(base)

    return apply


def merged(block: EvaBlock, adapters: Adapters, scale: float) -> SiteLinear:
    """The block's linears with one update for all scans, added to the weights once.

    As cheap per scan as the frozen block: for scoring many scans with one task.
    """
    linears = {
        site: Linear(torch.addmm(linear.weight, adapters[site][1], adapters[site][0], alpha=scale), linear.bias)
        for site, linear in site_linears(block).items()
    }
    return lambda site, x: linear_map(x, *linears[site])


def check_adapters(adapters: Adapters, shapes: Mapping[str, tuple[int, int]], index: int) -> None:
    """Raises ValueError naming the module whose A or B does not fit block `index`."""
    modules = site_modules(index)
    for site, (n_out, n_in) in shapes.items():
        lora_a, lora_b = adapters[site]
        fits = lora_a.shape[-1] == n_in and lora_b.shape[-2] == n_out and lora_a.shape[-2] == lora_b.shape[-1]
        if not fits or lora_a.shape[:-2] != lora_b.shape[:-2]:
            raise ValueError(
                f"{modules[site]} ({site}): weight is ({n_out}, {n_in}), but A is {tuple(lora_a.shape)} and B is "
                f"{tuple(lora_b.shape)}; expected (..., r, {n_in}) and (..., {n_out}, r)"
            )


def embed(backbone: Eva, images: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens (S * N, T, D) before the first block (CLS, registers, patches), and the rotary embedding.

    Images are (S * N, 3, H, W) of the backbone's size, else ValueError.
    """
    expected = tuple(backbone.patch_embed.img_size)
    if tuple(images.shape[1:]) != (3, *expected):
        raise ValueError(
            f"patch_embed: expected images (3, {expected[0]}, {expected[1]}), found {tuple(images.shape[1:])}"
        )
    tokens, rope = backbone._pos_embed(backbone.patch_embed(images))
    if rope is None:
        raise ValueError("rope: the backbone has no rotary position embedding")
    return backbone.norm_pre(tokens), rope


def attend(
    block: EvaBlock,
    normed: Tensor,
    rope: Tensor,
    linear: SiteLinear,
    cls_only: bool = False,
) -> Tensor:
    """Self-attention of a block on its normalised input (S * N, T, D).

    Positions are rotated into the patch tokens only. With `cls_only` the result has the CLS token alone: exact,
    and enough in the last block, of which nothing else is read.
    """
    attention: Any = block.attn
    prefix = attention.num_prefix_tokens

    def heads(x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], attention.num_heads, -1).transpose(1, 2)  # (S * N, head, T, head_dim)

    def rotate(x: Tensor) -> Tensor:
        patches: Tensor = apply_rot_embed_cat(x[:, :, prefix:], rope, half=attention.rotate_half)
        return torch.cat([x[:, :, :prefix], patches], dim=2).type_as(x)

    query = heads(linear("attention_query", normed[:, :1] if cls_only else normed))
    key = rotate(heads(linear("attention_key", normed)))
    value = heads(linear("attention_value", normed))
    mixed = scaled_dot_product_attention(query if cls_only else rotate(query), key, value)
    return linear("attention_output", mixed.transpose(1, 2).flatten(2))


def finish_block(block: EvaBlock, tokens: Tensor, attended: Tensor, linear: SiteLinear) -> Tensor:
    """The block after attention: both residual additions, layer scale and the MLP."""
    tokens = tokens + (attended if block.gamma_1 is None else block.gamma_1 * attended)
    mlp: Any = block.mlp
    hidden = linear("mlp_down", mlp.act(linear("mlp_up", block.norm2(tokens))))
    return tokens + (hidden if block.gamma_2 is None else block.gamma_2 * hidden)


def run_block(block: EvaBlock, tokens: Tensor, rope: Tensor, linear: SiteLinear, cls_only: bool = False) -> Tensor:
    """One pre-norm transformer block with the given linears; (S * N, T, D), or (S * N, 1, D) with `cls_only`."""
    attended = attend(block, block.norm1(tokens), rope, linear, cls_only)
    return finish_block(block, tokens[:, :1] if cls_only else tokens, attended, linear)
