"""Small labelled volumes whose tasks can be learned."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hyperct_pipeline.model.backbone import build_backbone
from hyperct_pipeline.model.hyperct import HyperCT
from hyperct_pipeline.model.settings import BackboneConfig, HyperCTConfig
from hyperct_pipeline.training.dataset import CTStudies, LabelledStudies
from hyperct_pipeline.volumes.slices import SliceConfig
from hyperct_pipeline.volumes.store import StoredVolume, VolumeStore

TASKS = ("bright_left", "dark_centre", "never_known")
DIGEST = "prepared-so"
SLICES = SliceConfig(crop_yx=(32, 32), n_triplets=4)
BACKBONE = BackboneConfig(
    name="vit_small_patch16_dinov3_qkvb", img_size=(32, 32), patch_size=16, embed_dim=32, depth=2, num_heads=2
)
MODEL = HyperCTConfig(rank=2, task_dim=8, latent=16, head_in=16)


def make_studies(store: VolumeStore, n: int, prefix: str, seed: int) -> LabelledStudies:
    """Boxes of tissue in air; label 0: a bright spot on the left, label 1: a dark centre; every fifth unknown."""
    rng = np.random.default_rng(seed)
    labels = np.full((n, len(TASKS)), -1, dtype=np.int8)
    keys = tuple(f"{prefix}{number:03d}" for number in range(n))
    for number, key in enumerate(keys):
        truth = rng.integers(0, 2, 2)
        hu = rng.normal(0.0, 30.0, (12, 36, 36))
        if truth[0]:
            hu[:, 12:24, 4:12] += 800.0
        if truth[1]:
            hu[:, 10:26, 14:24] -= 700.0
        stored = np.clip(hu, -1000, 1000).astype(np.int16)
        store.put(key, StoredVolume(stored, np.eye(4), (12, 36, 36), np.arange(12), DIGEST))
        labels[number, :2] = np.where(np.arange(2) == number % 5, -1, truth)
    return LabelledStudies(keys, tuple(f"patient-{key}" for key in keys), labels)


@pytest.fixture
def store(tmp_path: Path) -> VolumeStore:
    return VolumeStore(tmp_path / "volumes")


@pytest.fixture
def train(store: VolumeStore) -> CTStudies:
    return CTStudies(store, make_studies(store, 20, "t", 0), SLICES, DIGEST, seed=0)


@pytest.fixture
def validation(store: VolumeStore) -> CTStudies:
    return CTStudies(store, make_studies(store, 12, "v", 1), SLICES, DIGEST)


@pytest.fixture
def new_model() -> Callable[[], HyperCT]:
    return lambda: HyperCT(build_backbone(BACKBONE), TASKS, MODEL)
