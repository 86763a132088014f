"""Logits and AUROC of a trained package in half precision against fp32, on the held-out studies of the demo.

Run after `kedro run` (or `make demo`): `python benchmarks/precision.py [--data data] [--device cuda]`.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from hyperct_pipeline.metrics.discrimination import auroc
from hyperct_pipeline.model.settings import Precision
from hyperct_pipeline.training.checkpoint import ModelPackage, load_package
from hyperct_pipeline.training.dataset import CTStudies, LabelledStudies
from hyperct_pipeline.volumes.store import VolumeStore

PRECISIONS: tuple[Precision, ...] = ("fp32", "tf32", "fp16", "bf16")


def logits_of(
    package: ModelPackage, studies: CTStudies, precision: Precision, device: torch.device
) -> NDArray[np.float64]:
    """(n, K)."""
    parts = []
    for batch in studies.batches(range(len(studies)), 8, epoch=0):
        there = batch.to(device)
        images = studies.normalise(there.images)
        parts.append(package.model.logits_all_tasks(images, there.mask, precision=precision).double().cpu().numpy())
    return np.concatenate(parts)


def areas_of(labels: NDArray[np.int8], logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """AUROC per task (K,), NaN where a class is absent."""
    values = [auroc(labels[labels[:, k] >= 0, k], logits[labels[:, k] >= 0, k]) for k in range(labels.shape[1])]
    return np.array([np.nan if value is None else value for value in values])


def main() -> None:
    """Print one Markdown row per precision."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    package = load_package(arguments.data / "06_models" / "best", device)
    index = pd.read_parquet(arguments.data / "05_model_input" / "study_index.parquet")
    index = index[index["volume"].notna() & (index["split"] == "test")]
    labels = index[list(package.tasks)].astype("Float64").fillna(-1).to_numpy(dtype=np.int8)
    split = LabelledStudies(tuple(index["study_key"]), tuple(index["patient_key"]), labels)
    store = VolumeStore(arguments.data / "04_feature" / "volumes")
    studies = CTStudies(store, split, package.slice_config, package.preprocess_digest)
    exact = logits_of(package, studies, "fp32", device)
    print(f"{len(studies)} studies, {len(package.tasks)} tasks, logits of std {exact.std():.2f}, on {device}\n")
    print("| precision | largest difference of a logit | of an AUROC | of the mean AUROC |\n|---|---|---|---|")
    areas = areas_of(labels, exact)
    for precision in PRECISIONS[1:]:
        logits = logits_of(package, studies, precision, device)
        found = areas_of(labels, logits)
        print(
            f"| {precision} | {np.abs(logits - exact).max():.2g} | {np.nanmax(np.abs(found - areas)):.4f} "
            f"| {abs(np.nanmean(found) - np.nanmean(areas)):.5f} |"
        )


if __name__ == "__main__":
    main()
