from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from hyperct_pipeline.phantom.chest import Anatomy, draw_anatomy, paint_chest
from hyperct_pipeline.phantom.cohort import SCORES, PhantomConfig, Study, plan_studies

SEED = 2026


@dataclass(frozen=True)
class Painted:
    """A noise-free chest on a 3 mm grid, with voxel lookup in mm."""

    study: Study
    anatomy: Anatomy
    hu: NDArray[np.float32]
    x_mm: NDArray[np.float32]
    y_mm: NDArray[np.float32]
    z_mm: NDArray[np.float32]
    nodules: list[tuple[float, float, float, float]]

    def at(self, x: float, y: float, z: float) -> float:
        """HU of the voxel nearest to a point."""
        k, j, i = (int(np.argmin(np.abs(a - v))) for a, v in ((self.z_mm, z), (self.y_mm, y), (self.x_mm, x)))
        return float(self.hu[k, j, i])


Paint = Callable[..., Painted]


def _quiet(study: Study, scores: dict[str, float]) -> Study:
    """The study without findings and with an average heart, except for `scores`."""
    none = {name: (0.0 if name in SCORES[-6:] else -3.0) for name in SCORES}
    return replace(study, scores=none | scores)


@pytest.fixture(scope="session")
def plan() -> list[Study]:
    return plan_studies(PhantomConfig())


@pytest.fixture(scope="session")
def paint(plan: list[Study]) -> Paint:
    """paint(number, finding=score, ...): a chest with these scores and nothing else."""

    plain: dict[int, Painted] = {}

    def painter(number: int = 10, **scores: float) -> Painted:
        if scores:
            return new(number, scores)
        if number not in plain:
            plain[number] = new(number, {})
        return plain[number]

    def new(number: int, scores: dict[str, float]) -> Painted:
        study = _quiet(plan[number], scores)
        anatomy = draw_anatomy(study, SEED)
        x = np.arange(-192, 192, 3).astype(np.float32)
        z = np.arange(-24, anatomy.habitus.lung_height_mm + 18, 3).astype(np.float32)
        hu, nodules = paint_chest(study, anatomy, (x, x.copy(), z), SEED)
        return Painted(study, anatomy, hu, x, x, z, nodules)

    return painter
