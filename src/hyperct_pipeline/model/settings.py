"""Settings of the model, apart from the code they configure: `kedro` reads them at each start, without torch."""

from dataclasses import dataclass
from typing import ClassVar, Literal

Init = Literal["default", "reference"]


@dataclass(frozen=True)
class BackboneConfig:
    """Which timm model, which weights, which image size."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: str = "vit_base_patch16_dinov3_qkvb"  # a timm DINOv3 model
    weights: str = "random"  # "random", "hub" (timm's pretrained tag; network once), or a local weight file
    seed: int = 0  # of the random weights
    img_size: tuple[int, int] = (144, 144)  # pixels (rows, columns) of a triplet; whole patches
    patch_size: int | None = None  # pixels; None: the model's own. The next three likewise
    embed_dim: int | None = None
    depth: int | None = None
    num_heads: int | None = None

    def __post_init__(self) -> None:
        if not self.weights:
            raise ValueError("backbone.weights is empty: expected 'random', 'hub' or a path")
        sizes = {k: getattr(self, k) for k in ("patch_size", "embed_dim", "depth", "num_heads")}
        if bad := {k: v for k, v in sizes.items() if v is not None and v < 1}:
            raise ValueError(f"backbone sizes must be at least 1, found {bad}")
        if self.patch_size is not None and any(side % self.patch_size for side in self.img_size):
            raise ValueError(f"img_size {self.img_size} is not a multiple of patch_size {self.patch_size}")


@dataclass(frozen=True)
class HyperCTConfig:
    """Sizes and starting values of the generator; the defaults are the published sizes."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    rank: int = 16  # r of every adapter
    scale: float = 1.0  # s in y = W x + s B A x
    task_dim: int = 512  # length of a task embedding
    latent: int = 128  # width inside the hypernetwork; half of it encodes the task
    head_in: int = 768  # inputs of the linear heads that emit A and B
    dropout: float = 0.05  # inside the hypernetwork, while training
    init: Init = "default"  # "default": first update exactly zero, embeddings std 1; "reference": as published
    head_norm: bool = True  # heads' input scaled to length 1; False: as published
    # "triplets": image j holds three neighbouring slices; "reference": the public code's view of (3, N, H, W)
    slice_layout: Literal["triplets", "reference"] = "triplets"
    seed: int = 0  # of the starting values

    def __post_init__(self) -> None:
        sizes = {key: getattr(self, key) for key in ("rank", "task_dim", "head_in")}
        if bad := {key: value for key, value in sizes.items() if value < 1}:
            raise ValueError(f"model sizes must be at least 1, found {bad}")
        if self.latent < 4 or self.latent % 4:
            raise ValueError(f"model.latent must be a multiple of 4, found {self.latent}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"model.dropout must lie in [0, 1), found {self.dropout}")
