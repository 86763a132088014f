"""Settings of training, apart from the loop they configure: `kedro` reads them at each start, without torch."""

import dataclasses
import re
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

DEVICE_PATTERN = r"^(auto|cpu|cuda(:\d+)?)$"
"""What `device` may be; auto is CUDA where there is one."""

# what changes how fast and where training runs, but not what comes out
_WITHOUT_EFFECT = (
    "device", "micro_batch_size", "checkpointing", "compile", "validation_batch_size", "n_processes", "n_nodes",
    "node_rank", "rendezvous",
)  # fmt: skip


_MOST_EPOCHS = 999  # names of checkpoints, epoch_<3 digits>, sort by number


@dataclass(frozen=True)
class FitConfig:
    """How a model is trained; the defaults are the published settings."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    epochs: int = 20  # passes over the training studies
    batch_size: int = 8  # studies per step, over all processes
    tasks_per_scan: int = 1  # known tasks drawn per study and step, without repetition
    lr: float = 1.0e-5  # highest learning rate of AdamW
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.0
    clip_norm: float | None = None  # longest gradient over all parameters; null: no clipping
    warmup_steps: int = 0  # steps from 0 to lr; after them a cosine to 0
    # uncertainty: Kendall et al. 2018; dwa: dynamic weight average, Liu et al. 2019
    loss_weighting: Literal["equal", "uncertainty", "dwa"] = "equal"
    # "balanced": positives weigh negatives / positives of their task inside the loss, probabilities stay calibrated
    class_balance: Literal["none", "balanced"] = "none"
    ema_decay: float | None = None  # moving average of the weights, which is then validated and kept; null: none
    patience: int | None = None  # validations without a better mean AUROC before training stops; null: never
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"  # of matrix products; weights and residual stream stay fp32
    device: str = "auto"  # auto (CUDA where there is one) | cpu | cuda | cuda:<n>
    micro_batch_size: int | None = None  # studies at once per process, gradients accumulated; null: what fits
    checkpointing: bool = False  # recompute blocks in the backward pass: less memory, a third more time
    compile: bool = False  # torch.compile of the blocks
    seed: int = 0  # of order, crops, task draws and dropout
    validation_every: int = 1  # epochs between validations; the last epoch is always validated
    validation_batch_size: int = 8  # studies scored together
    min_class_count: int = 1  # validation studies of each class that a task needs to count in the mean AUROC
    n_processes: int = 1  # per node, one per GPU
    n_nodes: int = 1
    node_rank: int = 0  # number of this node; node 0 writes what comes of the training
    rendezvous: str = ""  # host:port of node 0, when there are several

    def __post_init__(self) -> None:
        counts = ("epochs", "batch_size", "tasks_per_scan", "validation_every", "validation_batch_size")
        for key in (*counts, "min_class_count", "n_processes", "n_nodes", "micro_batch_size", "patience"):
            if (value := getattr(self, key)) is not None and value < 1:
                raise ValueError(f"fit.{key} must be at least 1, found {value}")
        if self.epochs > _MOST_EPOCHS:
            raise ValueError(f"fit.epochs must be at most {_MOST_EPOCHS}, found {self.epochs}")
        if self.lr <= 0.0 or self.weight_decay < 0.0 or self.warmup_steps < 0:
            raise ValueError("fit: lr must be positive, weight_decay and warmup_steps must not be negative")
        if self.clip_norm is not None and self.clip_norm <= 0.0:
            raise ValueError(f"fit.clip_norm must be positive or null, found {self.clip_norm}")
        if not all(0.0 <= beta < 1.0 for beta in self.betas):
            raise ValueError(f"fit.betas must lie in [0, 1), found {self.betas}")
        if self.ema_decay is not None and not 0.0 < self.ema_decay < 1.0:
            raise ValueError(f"fit.ema_decay must lie in (0, 1) or be null, found {self.ema_decay}")
        self._check_processes()

    def _check_processes(self) -> None:
        if not re.match(DEVICE_PATTERN, self.device):
            raise ValueError(f"fit.device must be auto, cpu, cuda or cuda:<n>, found '{self.device}'")
        if self.n_processes * self.n_nodes > 1 and re.match(r"^cuda:\d+$", self.device):
            raise ValueError(
                f"fit.device is {self.device}, but fit.n_processes is {self.n_processes} and fit.n_nodes is "
                f"{self.n_nodes}: every process takes a GPU of its own, so say cuda"
            )
        if not 0 <= self.node_rank < self.n_nodes:
            raise ValueError(f"fit.node_rank must lie in [0, {self.n_nodes}), fit.n_nodes; found {self.node_rank}")
        if self.n_nodes > 1 and not re.match(r"^.+:\d+$", self.rendezvous):
            raise ValueError(f"fit.rendezvous: several nodes need the host:port of node 0, found '{self.rendezvous}'")

    def for_digest(self) -> "FitConfig":
        """The settings that the result depends on; all others at their defaults."""
        defaults: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(FitConfig)}
        return dataclasses.replace(self, **{name: defaults[name] for name in _WITHOUT_EFFECT})


@dataclass(frozen=True)
class CompareConfig:
    """Which methods are compared, and how often."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    # a method, or variants of one as "name: changes of model and fit", e.g. hyperct_reference: {init: reference}
    methods: tuple[str, ...] = ("linear_probe", "hard_sharing", "shared_lora", "task_lora", "hyperct")
    variants: dict[str, dict[str, Any]] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0, 1, 2)  # of starting values, order, crops, task draws and dropout
    max_seconds: float | None = None  # of training per run; the epoch that ends after it is the last; null: none
    split: str = "test"  # held-out studies that are scored
    bootstrap_draws: int = 200  # resamples of patients for the intervals
    confidence_level: float = 0.95

    def __post_init__(self) -> None:
        if not self.methods or not self.seeds:
            raise ValueError("compare.methods and compare.seeds must not be empty")
        if len(set(self.methods)) < len(self.methods) or len(set(self.seeds)) < len(self.seeds):
            raise ValueError("compare: a method or a seed stands there twice")
        if self.split == "train":
            raise ValueError("compare.split: the studies of the training cannot be held out")
        if self.max_seconds is not None and self.max_seconds <= 0.0:
            raise ValueError(f"compare.max_seconds must be positive or null, found {self.max_seconds}")
        if self.bootstrap_draws < 1 or not 0.0 < self.confidence_level < 1.0:
            raise ValueError("compare: bootstrap_draws must be at least 1, confidence_level lie in (0, 1)")


@dataclass(frozen=True)
class ExportConfig:
    """Which tasks are written for other tools, and how."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    tasks: tuple[str, ...] = ()  # empty: all
    layout: Literal["hf", "timm"] = "hf"  # backbone that the adapter goes onto
    transformers_major: Literal[4, 5] = 5  # version that will load it; the two name the blocks differently
    merged: bool = False  # also the whole backbone with the update merged in, in timm's layout


@dataclass(frozen=True)
class ExtendConfig:
    """A task that is added to a trained model."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    task: str = ""  # id in the task catalogue
    lr: float = 1.0e-2  # of the new embedding, which alone is learned; all else as in `fit`

    def __post_init__(self) -> None:
        if self.lr <= 0.0:
            raise ValueError(f"extend.lr must be positive, found {self.lr}")
