"""Tables of the report about the data, the training and the model."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from hyperct_pipeline.evaluation.report_tables import DASH, Table, facts_table, number, words

FLOW_COLUMNS = {
    "cohort": "Cohort",
    "without_image": "Named by a label table only",
    "found": "Studies found",
    "eligible": "Eligible",
    "converted": "Converted to volumes",
    "accepted": "Passed quality checks",
    "preprocessed": "Ready for the model",
    "with_known_label": "With a known label",
    "reasons": "Why there is no volume",
    "exclusions": "Why not eligible",
}
TRAINING_FACTS = ("epoch", "seed", "lr", "train_loss", "validation_loss", "validation_auroc", "validation_tasks")
WHOLE_NUMBERS = ("epoch", "seed", "validation_tasks")  # JSON may write them with decimals
SPLITS = ("train", "validation", "test")
USED = ("in", "matched")


def flow_table(cohort_flow: pd.DataFrame) -> Table:
    """How many studies of each cohort came how far, in the order of the way, and why the others did not."""
    keys = [key for key in FLOW_COLUMNS if key in cohort_flow]
    keys += [str(column) for column in cohort_flow.columns if column not in FLOW_COLUMNS]
    rows = [
        [_reasons(row[key]) if key in ("reasons", "exclusions") else number(row[key]) for key in keys]
        for row in cohort_flow.to_dict("records")
    ]
    return Table("Studies at each step", [FLOW_COLUMNS.get(key, words(key)) for key in keys], rows)


def _reasons(value: object) -> str:
    """`NO_USABLE_SERIES;LOCALIZER: 1, CONTRAST: 2` as `1 no usable series (localizer); 2 contrast`.

    The first code is of the study, the others are of its series.
    """
    text = number(value)
    if text in (DASH, ""):
        return DASH
    counted = [reason.rsplit(": ", 1) for reason in text.lower().replace("_", " ").split(", ")]
    shown = []
    for codes, count in counted:
        of_study, *of_series = codes.split(";")
        shown.append(f"{count} {of_study}" + (f" ({', '.join(of_series)})" if of_series else ""))
    return "; ".join(shown)


def sources_table(harmonization_report: pd.DataFrame) -> Table:
    """Per source of labels the rows that were read, what they were matched to, and what was not used."""
    of_sources = harmonization_report[harmonization_report["section"] == "source"]
    rows = []
    for source, part in of_sources.groupby(of_sources["item"].astype(str).str.split(".").str[0], sort=False):
        counts = [(str(item).split(".", 1)[1], str(reason), int(n)) for item, reason, n in _counts(part)]
        read = sum(n for what, reason, n in counts if (what, reason) == ("rows", "in"))
        matched = [f"{n} {what}" for what, reason, n in counts if reason == "matched"]
        unused = [f"{n} {_unused(what, reason)}" for what, reason, n in counts if reason not in USED and n]
        rows.append([str(source), str(read), ", ".join(matched) or DASH, "; ".join(unused) or DASH])
    return Table("How the label tables were read", ["Source", "Rows", "Matched to a scan", "Not used"], rows)


def _counts(part: pd.DataFrame) -> Iterator[tuple[object, object, int]]:
    return zip(part["item"], part["reason"], part["count"], strict=True)


def _unused(what: str, reason: str) -> str:
    """`rv_function`, `unmapped_text` as `cells of rv function: unmapped text`."""
    of_whole = what in ("rows", "studies", "examinations")
    return f"{what if of_whole else 'cells of ' + what}: {reason}".replace("_", " ")


def without_volume(index: pd.DataFrame) -> str:
    """Studies of each split that have no volume, in words; empty where every study has one."""
    lacking = index[index["volume"].isna()]
    counts = {split: int((lacking["split"] == split).sum()) for split in SPLITS}
    return ", ".join(f"{n} of {split}" for split, n in counts.items() if n)


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
    splits = [split for split in SPLITS if (index["split"] == split).any()]
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
    """One row per epoch; numbers of single tasks and modules (`train_loss/nodule`) are left to the CSV."""
    keys = list(dict.fromkeys(key for metrics in history.values() for key in metrics if key != "epoch"))
    whole = _epochs(history, keys)
    shown = _epochs(history, [key for key in keys if "/" not in key])
    return replace(shown, longer=whole)


def _epochs(history: Mapping[str, Mapping[str, object]], keys: Sequence[str]) -> Table:
    rows = [[epoch, *(_of_training(key, of.get(key), 4) for key in keys)] for epoch, of in sorted(history.items())]
    return Table("Training history", ["Epoch", *map(words, keys)], rows)


def _of_training(key: str, value: object, digits: int = 3) -> str:
    if key in WHOLE_NUMBERS and isinstance(value, float) and value.is_integer():
        return str(int(value))
    return number(value, digits)


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
    kept = {key: _of_training(key, training[key]) for key in TRAINING_FACTS if key in training}
    kept |= {"epoch": f"{kept['epoch']} (the one with the best validation)"} if "epoch" in kept else {}
    groups = card["task_groups"]
    of_group = {
        group: [names.get(task, task) for task in card["tasks"] if groups[task] == group]
        for group in dict.fromkeys(groups[task] for task in card["tasks"])
    }
    parts = [("The model", model), ("What it sees", images), ("The epoch that was kept", kept), ("Tasks", of_group)]
    return [facts_table(facts, caption) for caption, facts in parts if facts]
