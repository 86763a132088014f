"""Golden tensors of the reference implementation, and the model that must reproduce them."""

import ast
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from hyperct_pipeline.model.backbone import BackboneConfig, build_backbone, empty_backbone
from hyperct_pipeline.model.hyperct import HyperCT, HyperCTConfig
from hyperct_pipeline.model.weights import to_timm_layout

TINY_BACKBONE = BackboneConfig(
    name="vit_small_patch16_dinov3_qkvb", img_size=(32, 32), patch_size=16, embed_dim=32, depth=3, num_heads=2
)
TINY_MODEL = HyperCTConfig(rank=3, task_dim=8, latent=16, head_in=12, dropout=0.0)


class Golden:
    """Tensors by name, and the sizes they were made with."""

    def __init__(self, file: Path) -> None:
        with safe_open(file, framework="pt") as stored:
            self.sizes: dict[str, float] = ast.literal_eval(stored.metadata()["config"])
            self.tensors: dict[str, Tensor] = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118

    def __getitem__(self, key: str) -> Tensor:
        return self.tensors[key]

    def under(self, prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in self.tensors.items() if k.startswith(prefix)}

    def backbone_config(self) -> BackboneConfig:
        size, side = self.sizes, int(self.sizes["img"])
        return BackboneConfig(
            name="vit_small_patch16_dinov3_qkvb",
            img_size=(side, side),
            embed_dim=int(size["D"]),
            depth=int(size["L"]),
            num_heads=int(size["H"]),
        )

    def model(self, slice_layout: str = "triplets") -> HyperCT:
        backbone = empty_backbone(self.backbone_config())
        backbone.load_state_dict(to_timm_layout(self.under("w.enc.")))
        sizes = {key: int(self.sizes[key]) for key in ("rank", "latent", "head_in", "task_dim")}
        config = HyperCTConfig(**sizes, dropout=0.0, mode="reference", slice_layout=slice_layout)
        model = HyperCT(backbone, [f"task_{k}" for k in range(25)], config)
        model.hypernetwork.load_state_dict(self.under("w.hyper."))
        model.head.load_state_dict(self.under("w.head."))
        model.task_embeddings.data.copy_(self["w.task_embeddings"])
        return model.eval()

    def triplets(self) -> Tensor:
        """(4, n, 3, H, W): channel c of image j is slice 3j + c, ImageNet mean and std applied."""
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        images = self["in.x"].transpose(1, 2)  # (4, n, 3, H, W)
        return (images - mean[:, None, None]) / std[:, None, None]

    def all_real(self) -> Tensor:
        return torch.ones_like(self["in.mask"])


@pytest.fixture(scope="session")
def golden(test_data: Path) -> Golden:
    return Golden(test_data / "model" / "golden_tiny.safetensors")


@pytest.fixture
def tiny_model() -> HyperCT:
    """A small HyperCT whose adapters are not zero."""
    model = HyperCT(build_backbone(TINY_BACKBONE), ["a", "b", "c", "d"], TINY_MODEL)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for head in model.hypernetwork.heads.values():
            head.weight.normal_(0.0, 0.2, generator=generator)
    return model.eval()


@pytest.fixture
def tiny_input() -> tuple[Tensor, Tensor]:
    """Triplets (3, 4, 3, 32, 32) and a mask in which scan 1 has two real triplets and scan 2 has none."""
    triplets = torch.randn(3, 4, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]], dtype=torch.bool)
    return triplets, mask
