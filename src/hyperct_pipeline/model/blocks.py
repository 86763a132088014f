"""A forward through timm's transformer blocks, step by step, with linears that are given from outside.

Six sites per block: query, key and value (the three parts of timm's fused qkv), attention output, MLP up, MLP down.
No hooks. The residual stream, LayerNorm, layer scale and patch embedding stay in fp32; the linears and attention run in
the type of their weights.

Runs timm's DINOv3 blocks (`Eva`: RoPE, layer scale, separate q and v biases) and its plain ViT (`VisionTransformer`).

Shape letters: S scans, N images per scan, T tokens, D width.
"""

from typing import Any, NamedTuple, Protocol

import torch
from timm.layers.attention import Attention
from timm.layers.mlp import Mlp
from timm.layers.pos_embed_sincos import apply_rot_embed_cat
from timm.models.eva import Eva, EvaAttention, EvaBlock
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from hyperct_pipeline.model.settings import SITES

Backbone = Eva | VisionTransformer
TransformerBlock = EvaBlock | Block


class Linear(NamedTuple):
    """Weight (n_out, n_in) and bias (n_out,), which may be absent."""

    weight: Tensor
    bias: Tensor | None


class SiteLinear(Protocol):
    """The linears of one block."""

    dtype: torch.dtype
    """What they compute in."""

    def __call__(self, site: str, x: Tensor) -> Tensor:
        """The linear of a site, applied to (S * N, T, n_in)."""


def site_modules(index: int) -> dict[str, str]:
    """For each site the name of the timm module that holds its weight, in block `index`."""
    prefix = f"blocks.{index}"
    names = (f"{prefix}.attn.qkv",) * 3 + (f"{prefix}.attn.proj", f"{prefix}.mlp.fc1", f"{prefix}.mlp.fc2")
    return dict(zip(SITES, names, strict=True))


def adaptable_blocks(backbone: Backbone) -> list[TransformerBlock]:
    """The transformer blocks of a backbone.

    Raises ValueError naming the module when a block has parts that the forward here does not run.
    """
    return [_checked(block, f"blocks.{index}") for index, block in enumerate(backbone.blocks)]


def _checked(block: nn.Module, name: str) -> TransformerBlock:
    if not isinstance(block, EvaBlock | Block):
        raise ValueError(f"{name}: expected timm's EvaBlock or ViT Block, found {type(block).__name__}")
    attention, mlp = block.attn, block.mlp
    if not isinstance(attention, EvaAttention | Attention) or attention.qkv is None:
        raise ValueError(f"{name}.attn: expected attention with fused qkv, found {type(attention).__name__}")
    extras = {"q_norm": attention.q_norm, "k_norm": attention.k_norm, "norm": attention.norm}
    if found := [key for key, module in extras.items() if not isinstance(module, nn.Identity)]:
        raise ValueError(f"{name}.attn: norms inside attention are not supported, found {found}")
    if attention.gate is not None:
        raise ValueError(f"{name}.attn: gated attention is not supported")
    if not isinstance(mlp, Mlp) or not isinstance(mlp.norm, nn.Identity):
        raise ValueError(f"{name}.mlp: expected timm's plain Mlp, found {type(mlp).__name__}")
    return block


def site_linears(block: TransformerBlock) -> dict[str, Linear]:
    """The linears of a block by site; query, key and value are views of the fused qkv."""
    attention: Any = block.attn
    mlp: Any = block.mlp
    query, key, value = attention.qkv.weight.chunk(3)
    biases: tuple[Tensor | None, ...]
    if isinstance(attention, EvaAttention):
        biases = (attention.q_bias, attention.k_bias, attention.v_bias)
    else:
        biases = (None, None, None) if attention.qkv.bias is None else attention.qkv.bias.chunk(3)
    return {
        "attention_query": Linear(query, biases[0]),
        "attention_key": Linear(key, biases[1]),
        "attention_value": Linear(value, biases[2]),
        "attention_output": Linear(attention.proj.weight, attention.proj.bias),
        "mlp_up": Linear(mlp.fc1.weight, mlp.fc1.bias),
        "mlp_down": Linear(mlp.fc2.weight, mlp.fc2.bias),
    }


def site_shapes(block: TransformerBlock) -> dict[str, tuple[int, int]]:
    """(n_out, n_in) of each site, the same in every block of a backbone."""
    return {site: (linear.weight.shape[0], linear.weight.shape[1]) for site, linear in site_linears(block).items()}


def embed(backbone: Backbone, images: Tensor) -> tuple[Tensor, Tensor | None]:
    """Tokens (S * N, T, D) before the first block (CLS, registers, patches), and the rotary embedding, if there is one.

    Images are (S * N, 3, H, W) of the backbone's size, else ValueError. The embedding has a row (sines, cosines) for
    every token; those of CLS and registers turn nothing.
    """
    expected = tuple(backbone.patch_embed.img_size)
    if tuple(images.shape[1:]) != (3, *expected):
        raise ValueError(
            f"patch_embed: expected images (3, {expected[0]}, {expected[1]}), found {tuple(images.shape[1:])}"
        )
    embedded = backbone._pos_embed(backbone.patch_embed(images))
    tokens, rope = embedded if isinstance(embedded, tuple) else (embedded, None)
    return backbone.norm_pre(tokens), None if rope is None else _for_all_tokens(rope, backbone.num_prefix_tokens)


def _for_all_tokens(rope: Tensor, n_prefix: int) -> Tensor:
    """timm's embedding of the patches (P, 2 * head_dim) with rows of sine 0 and cosine 1 before it.

    x * 1 + turned x * 0 is x to the bit, and costs less than cutting the prefix off and putting it back in each block.
    """
    prefix = torch.zeros(n_prefix, rope.shape[-1], dtype=rope.dtype, device=rope.device)
    prefix[:, rope.shape[-1] // 2 :] = 1.0
    return torch.cat([prefix, rope])


def attend(
    block: TransformerBlock,
    normed: Tensor,
    rope: Tensor | None,
    linear: SiteLinear,
    cls_only: bool = False,
) -> Tensor:
    """Self-attention of a block on its normalised input (S * N, T, D).

    Positions are rotated into the patch tokens, see `embed`. With `cls_only` the result has the CLS token alone: exact,
    and enough in the last block, of which nothing else is read.
    """
    attention: Any = block.attn
    n_heads = attention.num_heads

    def heads(x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], n_heads, -1).transpose(1, 2)  # (S * N, head, T, head_dim)

    def rotate(x: Tensor) -> Tensor:
        if rope is None:
            return x
        turned: Tensor = apply_rot_embed_cat(x, rope, half=attention.rotate_half)
        return turned.type_as(x)

    normed = normed.to(linear.dtype)
    query = heads(linear("attention_query", normed[:, :1] if cls_only else normed))
    key = rotate(heads(linear("attention_key", normed)))
    value = heads(linear("attention_value", normed))
    mixed = scaled_dot_product_attention(query if cls_only else rotate(query), key, value)
    return linear("attention_output", mixed.transpose(1, 2).flatten(2))


def finish_block(block: TransformerBlock, tokens: Tensor, attended: Tensor, linear: SiteLinear) -> Tensor:
    """The block after attention: both residual additions, layer scale and the MLP."""
    mlp: Any = block.mlp
    tokens = _added(block, 1, tokens, attended)
    normed = block.norm2(tokens).to(linear.dtype)
    hidden = linear("mlp_down", mlp.act(linear("mlp_up", normed)))
    return _added(block, 2, tokens, hidden)


def _added(block: TransformerBlock, part: int, tokens: Tensor, x: Tensor) -> Tensor:
    """The residual stream plus attention (1) or MLP (2) times its layer scale, in one pass and in fp32."""
    if isinstance(block, EvaBlock):
        gamma = block.gamma_1 if part == 1 else block.gamma_2
    else:
        gamma = getattr(block.ls1 if part == 1 else block.ls2, "gamma", None)
    return tokens + x if gamma is None else torch.addcmul(tokens, gamma, x)


def run_block(
    block: TransformerBlock, tokens: Tensor, rope: Tensor | None, linear: SiteLinear, cls_only: bool = False
) -> Tensor:
    """One pre-norm transformer block with the given linears; (S * N, T, D), or (S * N, 1, D) with `cls_only`."""
    attended = attend(block, block.norm1(tokens), rope, linear, cls_only)
    return finish_block(block, tokens[:, :1] if cls_only else tokens, attended, linear)
