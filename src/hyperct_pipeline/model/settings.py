"""Settings of the model, apart from the code they configure: `kedro` reads them at each start, without torch."""

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

Init = Literal["default", "reference"]
SliceLayout = Literal["triplets", "reference"]
Generator = Literal["full", "narrow", "cores", "table", "shared", "shared_table", "none"]
Head = Literal["shared", "per_task", "attention"]
Method = Literal[
    "hyperct",
    "hyperct_narrow",
    "hyperct_cores",
    "hyperct_shuffled",
    "linear_probe",
    "attention_probe",
    "hard_sharing",
    "shared_lora",
    "task_lora",
    "mtlora",
]
Precision = Literal["fp32", "tf32", "fp16", "bf16"]
ScoringPrecision = Literal["auto", "fp32", "tf32", "fp16", "bf16"]
"""Of matrix products while scoring; auto: fp16 on CUDA, fp32 on a CPU."""

SITES = (
    "attention_query",
    "attention_key",
    "attention_value",
    "attention_output",
    "mlp_up",
    "mlp_down",
)
"""The linears of a block that can be adapted."""

# generator of the adapters and head of each method
_METHODS: dict[Method, tuple[Generator, Head]] = {
    "hyperct": ("full", "shared"),
    "hyperct_narrow": ("narrow", "shared"),
    "hyperct_cores": ("cores", "shared"),
    "hyperct_shuffled": ("full", "shared"),
    "linear_probe": ("none", "per_task"),
    "attention_probe": ("none", "attention"),
    "hard_sharing": ("none", "per_task"),
    "shared_lora": ("shared", "per_task"),
    "task_lora": ("table", "per_task"),
    "mtlora": ("shared_table", "per_task"),
}
_NARROW = 128  # inputs of the heads of `narrow`
_PUBLISHED_WIDTH = 768


@dataclass(frozen=True)
class BackboneConfig:
    """Which timm model, which weights, which image size."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: str = "vit_base_patch16_dinov3_qkvb"  # a timm DINOv3 model, or another plain timm ViT with a CLS token
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


class Design(NamedTuple):
    """What `method` and `mode` come to, with everything that was set by hand taken over."""

    generator: Generator
    head: Head
    head_in: int
    init: Init
    embedding_std: float
    head_norm: bool
    slice_layout: SliceLayout
    trains_backbone: bool
    shuffles_embeddings: bool

    @property
    def has_embeddings(self) -> bool:
        """Whether a hypernetwork makes the adapters from task embeddings."""
        return self.generator in {"full", "narrow", "cores"}

    @property
    def task_specific(self) -> bool:
        """Whether tasks differ inside the backbone, so that each costs a pass of its own."""
        return self.generator not in {"shared", "none"}

    @property
    def frozen_features(self) -> bool:
        """Whether the backbone's output never changes, so that it can be computed once."""
        return self.generator == "none" and not self.trains_backbone


@dataclass(frozen=True)
class HyperCTConfig:
    """Method, sizes and starting values; the defaults are the published sizes with corrected starting values."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    method: Method = "hyperct"  # see docs/model.md
    mode: Literal["default", "reference"] = "default"  # reference: init, head_norm and slice_layout as published
    rank: int = 16  # r of every adapter
    scale: float = 1.0  # s in y = W x + s B A x
    task_dim: int = 512  # length of a task embedding
    latent: int = 128  # width inside the hypernetwork; half of it encodes the task
    head_in: int | None = None  # inputs of the linear heads that emit A and B; null: 768, narrow 128
    dropout: float = 0.05  # inside the hypernetwork, while training
    sites: tuple[str, ...] = SITES  # adapted linears of each block
    adapt_from_block: int = 0  # blocks before this one stay as they are and are computed once per scan
    generator: Generator | None = None  # null: the method's
    head: Head | None = None  # null: the method's
    init: Init | None = None  # "default": first update exactly zero, embeddings std 1; "reference": as published
    embedding_std: float | None = None  # of task embeddings at the start; null: by init, 1.0 or 0.02
    head_norm: bool | None = None  # heads' input scaled to length 1; null: true, false in reference mode
    # "triplets": image j holds three neighbouring slices; "reference": the public code's view of (3, N, H, W)
    slice_layout: SliceLayout | None = None  # null: by mode
    seed: int = 0  # of the starting values

    def __post_init__(self) -> None:
        sizes = {key: getattr(self, key) for key in ("rank", "task_dim", "head_in")}
        if bad := {key: value for key, value in sizes.items() if value is not None and value < 1}:
            raise ValueError(f"model sizes must be at least 1, found {bad}")
        if self.latent < 4 or self.latent % 4:
            raise ValueError(f"model.latent must be a multiple of 4, found {self.latent}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"model.dropout must lie in [0, 1), found {self.dropout}")
        if not self.sites or set(self.sites) - set(SITES) or len(set(self.sites)) < len(self.sites):
            raise ValueError(f"model.sites must name some of {list(SITES)}, each once; found {list(self.sites)}")
        if self.adapt_from_block < 0:
            raise ValueError(f"model.adapt_from_block must not be negative, found {self.adapt_from_block}")
        if self.embedding_std is not None and self.embedding_std <= 0.0:
            raise ValueError(f"model.embedding_std must be positive or null, found {self.embedding_std}")
        if self.generator is not None and not self.method.startswith("hyperct"):
            raise ValueError(f"model.generator is a choice of the hyperct methods, not of {self.method}")
        if self.design.head == "shared" and not self.design.task_specific:
            raise ValueError(
                f"model.head 'shared' with adapters that all tasks share (method {self.method}, generator "
                f"'{self.design.generator}') gives one logit for all tasks: set model.head=per_task"
            )
        if self.design.head == "attention" and self.design.generator != "none":
            raise ValueError("model.head 'attention' reads frozen features: it goes with method attention_probe")

    @property
    def design(self) -> Design:
        """The method as it is built."""
        generator, head = _METHODS[self.method]
        generator, head = self.generator or generator, self.head or head
        init: Init = self.init or self.mode
        return Design(
            generator=generator,
            head=head,
            head_in=self.head_in or (_NARROW if generator == "narrow" else _PUBLISHED_WIDTH),
            init=init,
            # the published 0.02 leaves the generated adapters nearly alike for all tasks
            embedding_std=self.embedding_std or (0.02 if init == "reference" else 1.0),
            head_norm=self.mode == "default" if self.head_norm is None else self.head_norm,
            slice_layout=self.slice_layout or ("reference" if self.mode == "reference" else "triplets"),
            trains_backbone=self.method == "hard_sharing",
            shuffles_embeddings=self.method == "hyperct_shuffled",
        )

    @property
    def ordered_sites(self) -> tuple[str, ...]:
        """The adapted sites in the order of SITES."""
        return tuple(site for site in SITES if site in self.sites)
