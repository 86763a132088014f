"""Tables of the pages about subgroups."""

import math
import re
from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from hyperct_pipeline.evaluation.assess_settings import ALL, AssessConfig
from hyperct_pipeline.evaluation.report_tables import STATUS_TEXT, Table, with_interval


def subgroup_auroc_tables(metrics_full: pd.DataFrame, names: Mapping[str, str], config: AssessConfig) -> list[Table]:
    """Per kind of subgroup the AUROC of every task in each level, with its counts; suppressed cells say so."""
    rows = metrics_full[(metrics_full["subgroup"] != ALL) & (metrics_full["metric"] == "auc")]
    cells = {(str(row["task"]), str(row["subgroup"])): row for row in rows.to_dict("records")}
    kinds: dict[str, list[str]] = {}
    for subgroup in dict.fromkeys(rows["subgroup"].astype(str)):
        kinds.setdefault(subgroup.split(": ")[0], []).append(subgroup)
    tasks = [task for task in names if any(key[0] == task for key in cells)]
    tables = []
    for kind, levels in kinds.items():
        ordered = sorted(levels, key=_band_start)
        body = [[names[task], *(_subgroup_cell(cells[task, level]) for level in ordered)] for task in tasks]
        titles = [level.split(": ", 1)[1] for level in ordered]
        caption = f"AUROC by {kind.replace('_', ' ')}; {config.level_text} intervals; positive / negative"
        tables.append(Table(caption, ["Task", *titles], body))
    return tables


def _band_start(level: str) -> float:
    """Where a band begins; equal for levels that are no bands, which keep their order."""
    name = level.split(": ", 1)[1]
    if name.startswith("< "):
        return -math.inf
    found = re.match(r"(?:>= )?(\d+(?:\.\d+)?)(?: to < |$)", name)
    return float(found[1]) if found else 0.0


def _subgroup_cell(row: Mapping[Hashable, Any]) -> str:
    if row["status"] == "suppressed":
        return STATUS_TEXT["suppressed"]
    counts = f"{int(row['n_pos'])} / {int(row['n_neg'])}"
    return f"{with_interval(row['value'], row['ci_low'], row['ci_high'])}; {counts}"


def difference_table(subgroup_differences: pd.DataFrame, names: Mapping[str, str], config: AssessConfig) -> Table:
    """Subgroup differences whose interval excludes zero."""
    shown = subgroup_differences[(subgroup_differences["ci_low"] > 0) | (subgroup_differences["ci_high"] < 0)]
    rows = [
        [
            names[str(row["task"])],
            f"{str(row['subgroup']).replace('_', ' ')}: {row['level']} against {row['reference']}",
            {"auc": "AUROC"}.get(str(row["metric"]), str(row["metric"]).capitalize()),
            with_interval(row["difference"], row["ci_low"], row["ci_high"]),
        ]
        for row in shown.to_dict("records")
    ]
    caption = f"Differences whose interval excludes 0: {len(shown)} of {len(subgroup_differences)}"
    return Table(caption, ["Task", "Subgroup", "Metric", f"Difference ({config.level_text} interval)"], rows)
