"""Low-rank updates against merged weights and timm's own blocks."""

import pytest
import torch
from timm.models.eva import Eva
from torch import Tensor

from hyperct_pipeline.model.backbone import build_backbone, empty_backbone
from hyperct_pipeline.model.blocks import adaptable_blocks, embed, run_block, site_linears, site_shapes
from hyperct_pipeline.model.lora import LowRankLinears, check_adapters, frozen, merged, per_sample_lora
from hyperct_pipeline.model.settings import SITES

from .conftest import TINY_BACKBONE, Golden


@pytest.fixture
def backbone() -> Eva:
    return build_backbone(TINY_BACKBONE)


def random_adapters(backbone: Eva, n_scans: int, rank: int = 2) -> dict[str, tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(3)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator) / shape[-1] ** 0.5

    return {
        site: (draw(n_scans, rank, n_in), draw(n_scans, n_out, rank))
        for site, (n_out, n_in) in site_shapes(backbone.blocks[0]).items()
    }


def test_update_equals_merged_weights() -> None:
    x, a, b = torch.randn(3, 5, 8), torch.randn(3, 2, 8), torch.randn(3, 4, 2)
    expected = torch.stack([x[k] @ (b[k] @ a[k]).T for k in range(3)])
    torch.testing.assert_close(per_sample_lora(x, a, b), expected)


def test_blocks_without_updates_equal_timm(backbone: Eva) -> None:
    images = torch.randn(5, 3, 32, 32)
    tokens, rope = embed(backbone, images)
    for block in backbone.blocks:
        tokens = run_block(block, tokens, rope, frozen(block))
    torch.testing.assert_close(backbone.norm(tokens), backbone.forward_features(images), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["vit_small_patch16_dinov3", "vit_small_patch16_dinov3_qkvb"])
def test_both_timm_variants_of_the_bias_equal_timm(name: str) -> None:
    config = TINY_BACKBONE.__class__(name=name, img_size=(32, 48), embed_dim=32, depth=1, num_heads=2)
    backbone = build_backbone(config)
    images = torch.randn(2, 3, 32, 48)
    tokens, rope = embed(backbone, images)
    tokens = run_block(backbone.blocks[0], tokens, rope, frozen(backbone.blocks[0]))
    torch.testing.assert_close(backbone.norm(tokens), backbone.forward_features(images), atol=1e-5, rtol=0)


def test_cls_only_equals_the_cls_row(backbone: Eva) -> None:
    tokens, rope = embed(backbone, torch.randn(5, 3, 32, 32))
    block = backbone.blocks[0]
    row = run_block(block, tokens, rope, frozen(block), cls_only=True)
    torch.testing.assert_close(row, run_block(block, tokens, rope, frozen(block))[:, :1], atol=1e-5, rtol=0)


def test_low_rank_block_equals_merged_block(backbone: Eva) -> None:
    tokens, rope = embed(backbone, torch.randn(6, 3, 32, 32))  # 3 scans of 2 images
    block, adapters = backbone.blocks[1], random_adapters(backbone, n_scans=3)
    together = run_block(block, tokens, rope, LowRankLinears(site_linears(block), adapters, 0.5))
    for scan in range(3):
        own = {site: (a[scan], b[scan]) for site, (a, b) in adapters.items()}
        rows = slice(2 * scan, 2 * scan + 2)
        expected = run_block(block, tokens[rows], rope, merged(site_linears(block), own, 0.5))
        torch.testing.assert_close(together[rows], expected, atol=2e-5, rtol=0)
    assert (together - run_block(block, tokens, rope, frozen(block))).abs().max() > 0.1


@pytest.mark.parametrize("site", SITES)
def test_each_site_gets_its_own_update(backbone: Eva, site: str) -> None:
    """s B A x of one site is added to that site's output and to no other's."""
    block = backbone.blocks[0]
    adapters = random_adapters(backbone, n_scans=2)
    n_out, n_in = site_shapes(backbone.blocks[0])[site]
    x = torch.randn(4, 3, n_in)
    a, b = adapters[site]
    base = torch.nn.functional.linear(x, *site_linears(block)[site])
    expected = base + 2.0 * per_sample_lora(x.reshape(2, 6, n_in), a, b).reshape(4, 3, n_out)
    torch.testing.assert_close(LowRankLinears(site_linears(block), adapters, 2.0)(site, x), expected, atol=2e-5, rtol=0)


def test_adapters_that_do_not_fit_name_the_module(backbone: Eva) -> None:
    adapters = random_adapters(backbone, n_scans=1)
    a, b = adapters["mlp_up"]
    adapters["mlp_up"] = (a[..., :-1], b)
    with pytest.raises(ValueError, match=r"blocks\.2\.mlp\.fc1 \(mlp_up\): weight is \(128, 32\)"):
        check_adapters(adapters, site_shapes(backbone.blocks[2]), 2)


def test_unsupported_block_is_named(backbone: Eva) -> None:
    backbone.blocks[1].attn.q_norm = torch.nn.LayerNorm(16)
    with pytest.raises(ValueError, match=r"blocks\.1\.attn: norms inside attention"):
        adaptable_blocks(backbone)


def test_golden_features_of_the_hf_weights(golden: Golden) -> None:
    """Pooled CLS features of the adapted reference model, so RoPE, registers and layer scale are as in HF."""
    model = golden.model(slice_layout="reference")
    cls_tokens = []
    handle = model.head.register_forward_pre_hook(lambda _, args: cls_tokens.append(args[0]))
    model(golden.triplets(), golden.all_real(), golden["in.tasks"])
    handle.remove()
    torch.testing.assert_close(cls_tokens[0], golden["out.features"], atol=1e-5, rtol=0)
    assert empty_backbone(golden.backbone_config()).num_prefix_tokens == 5
