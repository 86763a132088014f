"""Rules by which a series is chosen."""

from typing import Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from hyperct_pipeline.dicom.deidentification import AllowedValues
from hyperct_pipeline.dicom.gate import GateConfig
from hyperct_pipeline.dicom.vocabulary import Vocabulary


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SelectionConfig:
    """Which series may be chosen, and which is preferred.

    Raises:
        ValueError: a limit that no series or every series meets.
    """

    vocabulary: Vocabulary
    allowed_values: AllowedValues
    gate: GateConfig = Field(default_factory=GateConfig)
    keep: Literal["best", "all"] = "best"  # all: every usable series of a study is converted
    min_slices: int = 30
    min_z_extent_mm: float = 150.0  # first to last slice, plus one slice
    target_spacing_mm: float = 1.0  # between slices; the series nearest to it is preferred
    allow_contrast: bool = False  # True: contrast is a warning instead of a refusal

    def __post_init__(self) -> None:
        if self.min_slices < 2:
            raise ValueError(f"min_slices is {self.min_slices}; a volume has at least 2")
        if not (self.min_z_extent_mm >= 0 and self.target_spacing_mm > 0):
            raise ValueError("min_z_extent_mm must not be negative, target_spacing_mm must be positive")
