"""The generator against the golden adapters, and its two initialisations."""

import pytest
import torch

from hyperct_pipeline.model.hypernetwork import Hypernetwork
from hyperct_pipeline.model.settings import SITES

from .conftest import Golden

SHAPES = dict.fromkeys(SITES, (24, 24)) | {"mlp_up": (48, 24), "mlp_down": (24, 48)}


def small(head_norm: bool = True) -> Hypernetwork:
    return Hypernetwork(SHAPES, 3, rank=2, task_dim=8, latent=16, head_in=64, dropout=0.0, head_norm=head_norm)


def test_golden_adapters(golden: Golden) -> None:
    for site, (a, b) in golden.model().adapters(torch.arange(25)).items():
        torch.testing.assert_close(a, golden[f"out.lora.{site}.A"], atol=1e-6, rtol=0)
        torch.testing.assert_close(b, golden[f"out.lora.{site}.B"], atol=1e-6, rtol=0)


@pytest.mark.parametrize("site", SITES)
def test_shapes(site: str) -> None:
    a, b = small()(torch.randn(5, 8))[site]
    n_out, n_in = SHAPES[site]
    assert a.shape == (5, 3, 2, n_in) and b.shape == (5, 3, n_out, 2)


def test_default_start_gives_zero_b_and_unit_a() -> None:
    network = small()
    network.initialise("default", torch.Generator().manual_seed(0))
    for site, (a, b) in network(torch.randn(200, 8)).items():
        assert not b.any()
        assert a.std().item() == pytest.approx(SHAPES[site][1] ** -0.5, rel=0.15)


def test_reference_start_gives_an_update_that_is_not_zero() -> None:
    network = small(head_norm=False)
    network.initialise("reference", torch.Generator().manual_seed(0))
    assert all(b.abs().max() > 1e-3 for _, b in network(torch.randn(2, 8)).values())


def test_heads_see_inputs_of_length_one() -> None:
    network = small()
    seen = []
    network.heads["mlp_up"].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    network(torch.randn(4, 8))
    torch.testing.assert_close(seen[0].norm(dim=-1), torch.ones(4, 3), atol=0.01, rtol=0)


def test_published_size() -> None:
    """171 M trainable parameters, 170 M of them in the heads, for ViT-B and rank 16."""
    shapes = dict.fromkeys(SITES, (768, 768)) | {"mlp_up": (3072, 768), "mlp_down": (768, 3072)}
    with torch.device("meta"):
        network = Hypernetwork(shapes, 12, rank=16, task_dim=512, latent=128, head_in=768, dropout=0.05, head_norm=True)
    heads = sum(parameter.numel() for parameter in network.heads.parameters())
    total = sum(parameter.numel() for parameter in network.parameters())
    assert round(heads / 1e6) == 170 and round(total / 1e6) == 171
