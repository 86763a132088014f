"""Tables of the report about the data, the training and the model."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from hyperct_pipeline.evaluation.report_tables import DASH, Table, facts_table, number, words

FLOW_COLUMNS = {
    "cohort": "Cohort",
    "found": "Studies found",
    "converted": "Converted to volumes",
    "accepted": "Passed quality checks",
    "preprocessed": "Ready for the model",
    "with_known_label": "With a known label",
    "without_image": "Named by a label table only",
    "reasons": "Why studies were lost",
}
TRAINING_FACTS = ("epoch", "seed", "lr", "train_loss", "validation_loss", "validation_auroc", "validation_tasks")


def flow_table(cohort_flow: pd.DataFrame) -> Table:
    """How many studies of each cohort came how far, and why the others did not."""
    columns = [FLOW_COLUMNS.get(str(column), words(str(column))) for column in cohort_flow.columns]
    rows = [
        [_reasons(value) if column == "reasons" else number(value) for column, value in row.items()]
        for row in cohort_flow.to_dict("records")
    ]
    return Table("Studies at each step", columns, rows)


def _reasons(value: object) -> str:
    """`NO_USABLE_SERIES;LOCALIZER: 1` as `no usable series; localizer: 1`."""
    text = number(value)
    return text if text == DASH else text.replace("_", " ").replace(";", "; ").lower()


def cohort_table(index: pd.DataFrame) -> Table:
    """Who was studied: per split and cohort the studies, patients, sex and age."""
    rows = []
    for (split, cohort), part in index.groupby(["split", "cohort"], dropna=False, sort=True):
        age = part["age_years"].astype("Float64").dropna()
        sex = part["sex"].astype("string").str.upper().str[0]
        women, men = int((sex == "F").sum()), int((sex == "M").sum())
        quartiles = [f"{age.quantile(q):.0f}" for q in (0.5, 0.25, 0.75)] if len(age) else None
        rows.append(
            [
                number(split),
                number(cohort),
                str(len(part)),
                str(part["patient_key"].nunique()),
                f"{women} / {men} / {len(part) - women - men}",
                f"{quartiles[0]} ({quartiles[1]} to {quartiles[2]})" if quartiles else DASH,
                str(len(part) - len(age)),
            ]
        )
    columns = ["Split", "Cohort", "Studies", "Patients", "Women / men / unknown"]
    return Table("Studies by split and cohort", [*columns, "Age in years, median (quartiles)", "Age unknown"], rows)


def prevalence_table(index: pd.DataFrame, names: Mapping[str, str]) -> Table:
    """Per task and split the positives among the known labels, and the unknown."""
    splits = [split for split in ("train", "validation", "test") if (index["split"] == split).any()]
    rows = []
    for task, name in names.items():
        if task not in index:
            continue
        cells = [name]
        for split in splits:
            label = index.loc[(index["split"] == split).fillna(False), task].astype("Int8")
            known, positive = int(label.notna().sum()), int(label.sum())
            share = f" ({positive / known:.0%})" if known else ""
            cells.append(f"{positive} / {known}{share}, {len(label) - known} unknown")
        rows.append(cells)
    return Table("Positive / known labels per task", ["Task", *(split.capitalize() for split in splits)], rows)


def history_table(history: Mapping[str, Mapping[str, object]]) -> Table:
    """One row per epoch with everything that was recorded."""
    keys = list(dict.fromkeys(key for metrics in history.values() for key in metrics if key != "epoch"))
    rows = [[epoch, *(number(metrics.get(key), 4) for key in keys)] for epoch, metrics in sorted(history.items())]
    return Table("Training history", ["Epoch", *map(words, keys)], rows)


def card_tables(card: Mapping[str, Any], names: Mapping[str, str]) -> list[Table]:
    """The model card in parts that can be read: what it is, what it sees, how it was trained, what it scores."""
    training = dict(card.get("training") or {})
    weights = {"random": "random (not pre-trained)", "hub": "timm's pretrained weights"}
    model = {
        "model_id": card["model_id"],
        "backbone": card["backbone"],
        "backbone_weights": weights.get(card["backbone_weights"], card["backbone_weights"]),
        "parameters_in_all": f"{card['parameters']:,}",
        "parameters_that_were_trained": f"{card['trained_parameters']:,}",
        "rank_of_the_adapters": card["rank"],
    }
    images = {
        "images_per_scan_at_most": card["n_triplets"],
        "pixels_of_an_image_yx": card["crop_yx"],
        "window_hu": card["window_hu"],
        "preprocessing_settings": card["preprocess_digest"],
    }
    kept = {key: training[key] for key in TRAINING_FACTS if key in training}
    kept |= {"epoch": f"{kept['epoch']} (the one with the best validation)"} if "epoch" in kept else {}
    groups = card["task_groups"]
    of_group = {
        group: [names.get(task, task) for task in card["tasks"] if groups[task] == group]
        for group in dict.fromkeys(groups[task] for task in card["tasks"])
    }
    parts = [("The model", model), ("What it sees", images), ("The epoch that was kept", kept), ("Tasks", of_group)]
    return [facts_table(facts, caption) for caption, facts in parts if facts]
