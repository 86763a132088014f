"""Tables of the report about the adapters and the saliency maps."""

from collections.abc import Mapping

import pandas as pd

from hyperct_pipeline.evaluation.adapter_names import ALL_SITES, TRAINED
from hyperct_pipeline.evaluation.report_tables import DASH, Table, number, p_value


def separation_report_table(separation: pd.DataFrame) -> Table:
    """Separation of the task groups by place, trained and untrained."""
    rows = [
        [
            "all" if row["module"] == ALL_SITES else str(row["module"]).replace("_", " "),
            str(row["weights"]),
            number(row["share_between"], 3),
            DASH if pd.isna(row["share_low"]) else f"{number(row['share_low'])} to {number(row['share_high'])}",
            number(row["distance_within"]),
            number(row["distance_between"]),
            p_value(row["p"]),
        ]
        for row in separation.to_dict("records")
    ]
    columns = ["Where", "Weights", "Share of variance between groups", "Range over untrained models"]
    columns += ["Distance within", "Distance between", "p"]
    return Table("Do the task groups separate?", columns, rows)


def lora_table(lora_pca: pd.DataFrame, names: Mapping[str, str]) -> Table:
    """First components of every task over all modules; the share of variance stands in the heading."""
    part = lora_pca[(lora_pca["module"] == ALL_SITES) & (lora_pca["weights"] == TRAINED)]
    components = [f"pc{k}" for k in (1, 2, 3) if f"pc{k}" in part]
    shares = [number(100.0 * part[f"explained_{name}"].iloc[0], 1) for name in components]
    titles = [f"{name.upper()} ({share} %)" for name, share in zip(components, shares, strict=True)]
    rows = [
        [str(row["number"]), names.get(str(row["task"]), str(row["task"])), str(row["group"]), number(row["norm"])]
        + [number(row[name]) for name in components]
        for row in part.to_dict("records")
    ]
    return Table("Weight updates: first components", ["No.", "Task", "Group", "Norm", *titles], rows)


def saliency_check_table(checks: pd.DataFrame, names: Mapping[str, str]) -> Table:
    """Rank correlation of each map with those of an untrained model, of a random one and of another task."""
    rows = [
        [
            names.get(str(row["task"]), str(row["task"])),
            number(row["rank_correlation_untrained"], 2),
            number(row["rank_correlation_random"], 2),
            number(row["rank_correlation_swapped"], 2),
            names.get(str(row["swapped_task"]), DASH),
        ]
        for row in checks.to_dict("records")
    ]
    return Table(
        "Sanity checks of the maps: rank correlations",
        ["Task", "With an untrained model", "With a random model", "With another task", "The other task"],
        rows,
    )
