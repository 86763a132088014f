"""Held-out AUROC per task on the synthetic archive: HyperCT, a linear probe on the same frozen features, the ceiling.

Run after `kedro run` (or `make demo`): `python benchmarks/phantom_learning.py [--data data]`. The ceiling is a probe on
the true anatomy, the measurements and severities from which the images were drawn; what the labels leave uncertain, no
image model can know. Both probes are fitted on the train split, their strength is chosen on validation, and all three
are scored on the same held-out studies.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hyperct_pipeline.metrics.discrimination import auroc
from hyperct_pipeline.pseudonyms import DEMO_SECRET, Pseudonyms
from hyperct_pipeline.training.checkpoint import ModelPackage, load_package
from hyperct_pipeline.volumes.slices import triplets
from hyperct_pipeline.volumes.store import VolumeStore

STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)


def frozen_features(package: ModelPackage, store: VolumeStore, keys: list[str]) -> NDArray[np.float64]:
    """Mean CLS token of the frozen backbone over a scan's triplets, (n, dim)."""
    rows = []
    with torch.inference_mode():
        for key in keys:
            images, seen = triplets(store.get(key).hu, package.slice_config, None)
            tokens = package.model.backbone(torch.from_numpy(images[seen]))  # (N, dim)
            rows.append(tokens.mean(dim=0).double().numpy())
    return np.stack(rows)


def true_anatomy(truth: pd.DataFrame, keys: list[str]) -> NDArray[np.float64]:
    """Measurements and severities of the studies, (n, columns)."""
    pseudonyms = Pseudonyms(DEMO_SECRET)
    by_key = truth.set_index(truth["study_instance_uid"].map(pseudonyms.study_key))
    columns = [c for c in truth if c.startswith(("severity_", "heart_")) or c in ("age_years", "body_surface_m2")]
    sex = (by_key.loc[keys, "sex"] == "F").to_numpy(float)
    return np.column_stack([by_key.loc[keys, columns].to_numpy(float), sex])


def probe(x: NDArray[np.float64], y: NDArray[np.float64], split: NDArray[np.str_]) -> NDArray[np.float64]:
    """Risk of every study from a logistic probe; NaN where train or validation holds one class only."""
    known = ~np.isnan(y)
    train, validation = known & (split == "train"), known & (split == "validation")
    if len(np.unique(y[train])) < 2 or len(np.unique(y[validation])) < 2:
        return np.full(len(y), np.nan)
    fitted = [
        make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000)).fit(x[train], y[train])
        for strength in STRENGTHS
    ]
    scores = [auroc(y[validation].astype(np.int8), model.predict_proba(x[validation])[:, 1]) for model in fitted]
    best = int(np.argmax([-1.0 if score is None else score for score in scores]))
    risk: NDArray[np.float64] = fitted[best].predict_proba(x)[:, 1]
    return risk


def learning_table(data: Path) -> pd.DataFrame:
    """One row per task: counts and the three AUROCs on held-out studies."""
    index = pd.read_parquet(data / "05_model_input" / "study_index.parquet")
    index = index[index["volume"].notna() & index["split"].notna()].reset_index(drop=True)
    predictions = pd.read_parquet(data / "07_model_output" / "predictions.parquet")
    predicted = predictions.pivot(index="study_key", columns="task", values="probability")
    package = load_package(data / "06_models" / "best")
    keys, split = index["study_key"].tolist(), index["split"].to_numpy(str)
    features = frozen_features(package, VolumeStore(data / "04_feature" / "volumes"), keys)
    anatomy = true_anatomy(pd.read_csv(data / "01_raw" / "phantom" / "labels" / "truth.csv"), keys)
    rows = []
    for task in package.tasks:
        y = index[task].to_numpy(float, na_value=np.nan)
        held_out = (split == "test") & ~np.isnan(y)
        label = y[held_out].astype(np.int8)
        row = {"task": task, "group": package.task_groups[task], "n": int(held_out.sum()), "n_pos": int(label.sum())}
        row["hyperct"] = auroc(label, predicted[task].reindex(keys).to_numpy(float)[held_out])
        for name, x in (("linear_probe", features), ("true_anatomy", anatomy)):
            risk = probe(x, y, split)[held_out]
            row[name] = None if np.isnan(risk).any() else auroc(label, risk)
        rows.append(row)
    return pd.DataFrame(rows)


def main() -> None:
    """Print the table as Markdown, with the means of each group over the tasks where all three are defined."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"))
    table = learning_table(parser.parse_args().data)
    models = ["hyperct", "linear_probe", "true_anatomy"]
    print("| task | n | n+ | HyperCT | linear probe | true anatomy |\n|---|---|---|---|---|---|")
    for row in table.itertuples():
        values = " | ".join("-" if pd.isna(getattr(row, m)) else f"{getattr(row, m):.2f}" for m in models)
        print(f"| {row.task} | {row.n} | {row.n_pos} | {values} |")
    defined = table.dropna(subset=models)
    for group, part in defined.groupby("group"):
        values = " | ".join(f"**{part[m].astype(float).mean():.3f}**" for m in models)
        print(f"| **mean of {len(part)} {group} tasks** | | | {values} |")


if __name__ == "__main__":
    main()
