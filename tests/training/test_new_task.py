"""A task held back from training is learned by its embedding alone."""

from dataclasses import replace

import numpy as np
import torch

from hyperct_pipeline.model.backbone import build_backbone
from hyperct_pipeline.model.hyperct import HyperCT
from hyperct_pipeline.model.new_task import settled, with_new_task
from hyperct_pipeline.training.dataset import CTStudies
from hyperct_pipeline.training.loop import fit
from hyperct_pipeline.training.settings import FitConfig
from hyperct_pipeline.volumes.store import VolumeStore

from .conftest import BACKBONE, DIGEST, MODEL, SLICES, make_studies

FIT = FitConfig(epochs=15, batch_size=8, tasks_per_scan=4, lr=3e-3, clip_norm=1.0, device="cpu", validation_every=15)
KNOWN = ("bright_left", "dark_centre", "not_bright_left")


def truth(studies: CTStudies) -> dict[str, np.ndarray]:
    """(n,) per task, unknown where the finding is; `held_back` is the opposite of a dark centre."""
    first, second = studies.studies.labels[:, 0], studies.studies.labels[:, 1]
    opposites = (np.where(label < 0, -1, 1 - label) for label in (first, second))
    return dict(zip((*KNOWN, "held_back"), (first, second, *opposites), strict=True))


def asked(studies: CTStudies, tasks: tuple[str, ...]) -> CTStudies:
    """The studies with the labels of some tasks; the others are unknown."""
    known = truth(studies)
    columns = [known[task] if task in tasks else np.full_like(known[task], -1) for task in (*KNOWN, "held_back")]
    labels = np.stack(columns[: 3 + ("held_back" in tasks)], axis=1).astype(np.int8)
    return CTStudies(studies.store, replace(studies.studies, labels=labels), SLICES, DIGEST, seed=studies.seed)


def test_held_back_task_is_learned(store: VolumeStore) -> None:
    train = CTStudies(store, make_studies(store, 60, "t", 0), SLICES, DIGEST, seed=0)
    validation = CTStudies(store, make_studies(store, 30, "v", 1), SLICES, DIGEST)
    model = HyperCT(build_backbone(BACKBONE), KNOWN, MODEL)
    list(fit(model, asked(train, KNOWN), asked(validation, KNOWN), FIT))
    old = {name: value.detach().clone() for name, value in model.state_dict().items()}
    model = with_new_task(model, "held_back")
    new = ("held_back",)
    config = replace(FIT, lr=0.1, epochs=20, validation_every=20)
    epochs = list(fit(model, asked(train, new), asked(validation, new), config))
    assert set(epochs[-1].checkpoint.weights) == {"new_embeddings"}
    assert epochs[-1].metrics["validation_auroc/held_back"] > 0.9
    for name, value in settled(model).state_dict().items():
        kept = value[:3] if name == "task_embeddings" else value
        assert torch.equal(kept, old[name]), name
