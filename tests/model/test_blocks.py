"""Blocks step by step against timm's own forward."""

from dataclasses import replace

import pytest
import torch
from timm.layers.pos_embed_sincos import apply_rot_embed_cat

from hyperct_pipeline.model.backbone import build_backbone
from hyperct_pipeline.model.blocks import _added, adaptable_blocks, embed, run_block
from hyperct_pipeline.model.lora import frozen

from .conftest import TINY_BACKBONE

IMAGES = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
PLAIN_VIT = replace(TINY_BACKBONE, name="vit_tiny_patch16_224", patch_size=None)


def test_rotation_of_all_tokens_is_that_of_the_patches_to_the_bit() -> None:
    backbone = build_backbone(TINY_BACKBONE)
    n_prefix = backbone.num_prefix_tokens
    _, patches = backbone._pos_embed(backbone.patch_embed(IMAGES))
    _, every = embed(backbone, IMAGES)
    assert every is not None and every.shape == (n_prefix + len(patches), patches.shape[1])
    x = torch.randn(4, 2, len(every), patches.shape[1] // 2)
    turned = apply_rot_embed_cat(x, every, half=True)
    assert torch.equal(turned[:, :, :n_prefix], x[:, :, :n_prefix])
    assert torch.equal(turned[:, :, n_prefix:], apply_rot_embed_cat(x[:, :, n_prefix:], patches, half=True))


@pytest.mark.parametrize("config", [TINY_BACKBONE, PLAIN_VIT])
def test_blocks_without_updates_are_those_of_timm(config: object) -> None:
    backbone = build_backbone(config)
    tokens, rope = embed(backbone, IMAGES)
    for block in adaptable_blocks(backbone):
        expected = block(tokens) if rope is None else block(tokens, rope=rope[backbone.num_prefix_tokens :])
        found = run_block(block, tokens, rope, frozen(block))
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
        alone = run_block(block, tokens, rope, frozen(block), cls_only=True)
        torch.testing.assert_close(alone, expected[:, :1], atol=1e-5, rtol=1e-5)
        tokens = expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_layer_scale_and_sum_stay_in_fp32(dtype: torch.dtype) -> None:
    block = adaptable_blocks(build_backbone(TINY_BACKBONE))[0]
    block.gamma_1.data.uniform_(0.5, 2.0)
    tokens, x = torch.randn(2, 5, 32), torch.randn(2, 5, 32).to(dtype)
    found = _added(block, 1, tokens, x)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, tokens + block.gamma_1 * x.float(), atol=1e-6, rtol=1e-6)
