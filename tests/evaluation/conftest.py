"""A small predictions table, and a model whose evidence is planted."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit
from torch import Tensor

from hyperct_pipeline.evaluation.assess_settings import RecalibrationConfig
from hyperct_pipeline.evaluation.prediction_checks import checked_predictions
from hyperct_pipeline.evaluation.prediction_splits import of_split
from hyperct_pipeline.evaluation.recalibration import apply_calibration, fit_calibration
from hyperct_pipeline.volumes.slices import IMAGENET_MEAN, IMAGENET_STD, SliceConfig
from hyperct_pipeline.volumes.store import StoredVolume

GROUPS = {"nodule": "radiological", "effusion": "radiological", "low_lvef": "cardiac", "dilated": "cardiac"}
NAMES = {
    "nodule": "Lung nodule",
    "effusion": "Pleural effusion",
    "low_lvef": "LVEF below 50 %",
    "dilated": "Dilated <ventricle> & more",
}


@pytest.fixture
def predictions() -> pd.DataFrame:
    """Four tasks: one ordinary, one with few positives, one of one class, one without labels."""
    rng = np.random.default_rng(0)
    rows = []
    for k in range(160):
        split = "validation" if k < 60 else "test"
        cohort = "development" if k < 60 else ("internal_test", "prospective_a")[k % 2]
        for task in GROUPS:
            logit = float(rng.normal())
            positive = rng.random() < expit(0.5 + 0.8 * logit)
            label = {"nodule": int(positive), "effusion": int(k % 25 == 0), "low_lvef": 0, "dilated": None}[task]
            if task == "nodule" and k % 20 == 3:
                label = None
            rows.append((f"s{k:03d}", f"p{k // 2:03d}", cohort, split, task, label, logit))
    columns = ["study_key", "patient_key", "cohort", "split", "task", "label", "logit"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.assign(
        label=frame["label"].astype("Int8"),
        probability=expit(frame["logit"]),
        probability_calibrated=np.nan,
        model_id="m1",
    )


@pytest.fixture
def assessed(predictions: pd.DataFrame) -> pd.DataFrame:
    """The test rows, recalibrated and with thresholds from the validation rows, checked."""
    validation = predictions[predictions["split"] == "validation"]
    scored = apply_calibration(predictions, fit_calibration(validation, RecalibrationConfig()))
    return of_split(checked_predictions(scored), "test")


class PlantedModel:
    """Offers the hook point of HyperCT; task k's logit reads channel k of the patches and nothing else.

    A patch's channel 0 is its mean brightness, channel 1 the opposite, so the evidence of task 0 lies where the
    scan is bright. Two tokens stand before the patches.
    """

    tasks = ("bright", "dark")
    n_prefix_tokens = 2

    def __init__(self, crop: int, patch: int) -> None:
        self.patch, self.grid_hw = patch, (crop // patch, crop // patch)

    def to(self, device: torch.device) -> "PlantedModel":
        return self

    def eval(self) -> "PlantedModel":
        return self

    def _patches(self, x: Tensor) -> Tensor:
        mean, std = (torch.from_numpy(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
        grey = (x.flatten(0, 1) * std + mean).mean(dim=1, keepdim=True)  # (B * N, 1, H, W) in [0, 1]
        return torch.nn.functional.avg_pool2d(grey, self.patch).flatten(1)  # (B * N, patches)

    def logits_all_tasks(self, x: Tensor, mask: Tensor, precision: str | None = None) -> Tensor:
        bright = self._patches(x).mean(dim=1).reshape(mask.shape)
        score = (bright * mask).sum(dim=1) / mask.sum(dim=1)
        return torch.stack([score, -score], dim=1)

    def last_block_input(self, x: Tensor, mask: Tensor, task: Tensor) -> tuple[Tensor, Tensor]:
        bright = self._patches(x)
        patches = torch.stack([bright, 1.0 - bright], dim=2)
        prefix = torch.full((len(bright), self.n_prefix_tokens, 2), 50.0)
        tokens = torch.cat([prefix, patches], dim=1).requires_grad_()
        seen = mask.flatten().float()[:, None]
        logit = (tokens[:, self.n_prefix_tokens :, int(task)] * seen).sum() / seen.sum()
        return tokens, logit[None]


@pytest.fixture
def package() -> SimpleNamespace:
    return SimpleNamespace(
        model=PlantedModel(crop=32, patch=8),
        tasks=("bright", "dark"),
        task_groups={"bright": "radiological", "dark": "cardiac"},
        slice_config=SliceConfig(crop_yx=(32, 32), n_triplets=5, window_hu=(-1000, 1000)),
        preprocess_digest="d1",
        model_id="m1",
    )


@pytest.fixture
def stored() -> StoredVolume:
    """Air with one dense cube in grid slices 6-8; two slices were dropped, the grid is larger than the crop."""
    hu = np.full((12, 36, 36), -1000, dtype=np.int16)
    # crop starts at 2; the patch at rows 8-15 from the patient's back, columns 16-23 of the crop
    hu[3:6, 2 + 8 : 2 + 16, 2 + 16 : 2 + 24] = 400
    affine = np.array([[2.0, 0, 0, -30], [0, 2.0, 0, -40], [0, 0, 5.0, 100], [0, 0, 0, 1]])
    return StoredVolume(hu, affine, (15, 36, 36), np.arange(3, 15), "d1")
