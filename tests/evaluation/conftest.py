"""A small predictions table with its assessment, a reader of pages, and a model whose evidence is planted."""

from dataclasses import asdict
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit
from torch import Tensor

from hyperct_pipeline.evaluation.assess_settings import ALL, AssessConfig, RecalibrationConfig
from hyperct_pipeline.evaluation.assessment import assess
from hyperct_pipeline.evaluation.failure_cases import failure_cases
from hyperct_pipeline.evaluation.model_comparison import comparison_table, transfer_table
from hyperct_pipeline.evaluation.prediction_checks import checked_predictions
from hyperct_pipeline.evaluation.prediction_splits import of_split
from hyperct_pipeline.evaluation.recalibration import apply_calibration, fit_calibration
from hyperct_pipeline.evaluation.report_evidence import Assessment
from hyperct_pipeline.evaluation.subgroups import subgroup_tables
from hyperct_pipeline.evaluation.task_rows import part_of
from hyperct_pipeline.volumes.slices import IMAGENET_MEAN, IMAGENET_STD, SliceConfig
from hyperct_pipeline.volumes.store import StoredVolume

GROUPS = {"nodule": "radiological", "effusion": "radiological", "low_lvef": "cardiac", "dilated": "cardiac"}
NAMES = {
    "nodule": "Lung nodule",
    "effusion": "Pleural effusion",
    "low_lvef": "LVEF below 50 %",
    "dilated": "Dilated <ventricle> & more",
}


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def assessed(predictions: pd.DataFrame) -> pd.DataFrame:
    """The test rows, recalibrated and with thresholds from the validation rows, checked."""
    validation = predictions[predictions["split"] == "validation"]
    scored = apply_calibration(predictions, fit_calibration(validation, RecalibrationConfig()))
    return of_split(checked_predictions(scored), "test")


CONFIG = AssessConfig(bootstrap_draws=20)
PNG = b"\x89PNG\r\n\x1a\n picture"
SVG = (
    b'<?xml version="1.0"?>\n<svg height="10pt" id="root" width="20pt"><metadata>x</metadata><style>*{}</style>'
    b'<path id="p1"/><use href="#p1" clip-path="url(#p1)"/><text>label &lt;b&gt;</text></svg>'
)


class Elements(HTMLParser):
    """All elements with their attributes, the text, and the tables by caption as lists of rows of cells."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.tables: dict[str, list[list[str]]] = {}
        self._caption, self._rows, self._within = "", [], ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._within = tag if tag in ("caption", "td", "th", "a") else self._within
        if tag == "table":
            self._caption, self._rows = "", []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._within = "" if tag == self._within else self._within
        if tag == "table":
            self.tables[self._caption.strip()] = self._rows

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._within == "caption":
            self._caption += data
        elif self._within in ("td", "th"):
            self._rows[-1][-1] += data

    def row(self, caption: str, *first: str) -> dict[str, str]:
        """The only row of a table that begins with these cells, by column."""
        head, *body = self.tables[caption]
        (cells,) = [row for row in body if row[: len(first)] == list(first)]
        return dict(zip(head, cells, strict=True))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture
def read_page() -> type[Elements]:
    """Reads an HTML page."""
    return Elements


@pytest.fixture(scope="session")
def assessment(predictions: pd.DataFrame) -> Assessment:
    """The test rows with a rival, sexes and recalibration, assessed."""
    validation = predictions[predictions["split"] == "validation"]
    calibration = fit_calibration(validation, RecalibrationConfig())
    rivals = {"probability_single_task": predictions["probability"].rank(pct=True) ** 2, "site": None}
    sexes = np.where(predictions["study_key"].str[1:].astype(int) % 3 == 0, "M", "F")
    table = apply_calibration(predictions.assign(**rivals, sex=sexes), calibration)
    assessed = of_split(checked_predictions(table), "test")
    found = assess(assessed, GROUPS, CONFIG)
    subgroups, differences = subgroup_tables(assessed, GROUPS, CONFIG)
    whole = part_of(assessed, ALL, list(GROUPS))
    curves = found.curves
    return Assessment(
        facts={
            "model_id": "m1",
            "settings": asdict(CONFIG),
            "split": "test",
            "studies": 100,
            "patients": 50,
            "rows": 400,
            "rows_without_prediction": 0,
            "tasks_outside_the_catalogue": [],
            "tasks": list(GROUPS),
            "rivals": ["single_task"],
            "decision_cohorts": ["prospective a"],
            "recalibration": "of the predictions",
        },
        metrics_full=pd.concat([found.metrics, subgroups], ignore_index=True),
        decision_curves=curves[(curves["cohort"] == ALL) & (curves["model"] == "hyperct")],
        model_comparison=comparison_table(whole, GROUPS, CONFIG),
        negative_transfer=transfer_table(whole, GROUPS, CONFIG),
        subgroup_differences=differences,
        failure_cases=failure_cases(assessed, GROUPS),
        calibration=calibration,
        fitted_calibration={},
        auroc_figure=SVG,
        calibration_figure=PNG,
        decision_curve_figures={"prospective_a": SVG},
        comparison_figures={"single_task": SVG},
    )


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
