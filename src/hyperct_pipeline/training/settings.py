"""Settings of training, apart from the loop they configure: `kedro` reads them at each start, without torch."""

import re
from dataclasses import dataclass
from typing import ClassVar, Literal

DEVICE_PATTERN = r"^(auto|cpu|cuda(:\d+)?)$"
"""What `device` may be; auto is CUDA where there is one."""


@dataclass(frozen=True)
class FitConfig:
    """How a model is trained; the defaults are the published settings."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    epochs: int = 20  # passes over the training studies
    batch_size: int = 8  # studies per step
    tasks_per_scan: int = 1  # known tasks drawn per study and step, without repetition
    lr: float = 1.0e-5  # highest learning rate of AdamW
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.0
    clip_norm: float | None = None  # longest gradient over all parameters; null: no clipping
    warmup_steps: int = 0  # steps from 0 to lr; after them a cosine to 0
    # "balanced": positives weigh negatives / positives of their task, which shifts probabilities upwards
    positive_weight: Literal["none", "balanced"] = "none"
    precision: Literal["fp32", "bf16"] = "fp32"  # of matrix products; weights and residual stream stay fp32
    device: str = "auto"  # auto (CUDA where there is one) | cpu | cuda | cuda:<n>
    seed: int = 0  # of order, crops, task draws and dropout
    validation_every: int = 1  # epochs between validations; the last epoch is always validated
    validation_batch_size: int = 8  # studies scored together
    min_class_count: int = 1  # validation studies of each class that a task needs to count in the mean AUROC

    def __post_init__(self) -> None:
        counts = ("epochs", "batch_size", "tasks_per_scan", "validation_every", "validation_batch_size")
        for key in (*counts, "min_class_count"):
            if getattr(self, key) < 1:
                raise ValueError(f"fit.{key} must be at least 1, found {getattr(self, key)}")
        if self.lr <= 0.0 or self.weight_decay < 0.0 or self.warmup_steps < 0:
            raise ValueError("fit: lr must be positive, weight_decay and warmup_steps must not be negative")
        if self.clip_norm is not None and self.clip_norm <= 0.0:
            raise ValueError(f"fit.clip_norm must be positive or null, found {self.clip_norm}")
        if not all(0.0 <= beta < 1.0 for beta in self.betas):
            raise ValueError(f"fit.betas must lie in [0, 1), found {self.betas}")
        if not re.match(DEVICE_PATTERN, self.device):
            raise ValueError(f"fit.device must be auto, cpu, cuda or cuda:<n>, found '{self.device}'")
