"""Tables of the pages about subgroups."""

import math
import re
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from hyperct_pipeline.evaluation.assess_settings import ALL, AssessConfig
from hyperct_pipeline.evaluation.report_tables import STATUS_TEXT, Table, with_interval

SUPPRESSED = STATUS_TEXT["suppressed"]


@dataclass(frozen=True)
class SubgroupAurocs:
    """AUROC by kind of subgroup: a table each where there is something to show, and in words what is not shown."""

    tables: list[Table]
    notes: list[str]
    repeated: frozenset[str]  # kinds without a table because they divide the studies as another one does


def subgroup_aurocs(metrics_full: pd.DataFrame, names: Mapping[str, str], config: AssessConfig) -> SubgroupAurocs:
    """AUROC of every task in each level of each kind of subgroup.

    A kind all of whose cells are suppressed has no table, nor has one that divides the studies as an earlier one does
    (a scanner that always has the same kernel): a note says so.
    """
    tables: list[Table] = []
    notes: list[str] = []
    repeated: set[str] = set()
    shown: dict[str, list[tuple[str, ...]]] = {}
    for kind, table in _auroc_tables(metrics_full, names, config).items():
        cells = sorted(tuple(row[at] for row in table.rows) for at in range(1, len(table.columns)))
        if all(cell == SUPPRESSED for column in cells for cell in column):
            levels = ", ".join(map(str, table.columns[1:]))
            notes.append(
                f"By {kind} ({levels}) no cell can be shown: each is too small, or would give a small one away."
            )
        elif same := next((earlier for earlier, of in shown.items() if of == cells), None):
            repeated.add(kind)
            notes.append(
                f"By {kind} the studies are divided as by {same}: every number is the same, so it is shown once."
            )
        else:
            tables.append(table)
            shown[kind] = cells
    return SubgroupAurocs(tables, notes, frozenset(repeated))


def _auroc_tables(metrics_full: pd.DataFrame, names: Mapping[str, str], config: AssessConfig) -> dict[str, Table]:
    """Kind of subgroup -> AUROC of every task in each level, with its counts; suppressed cells say so."""
    rows = metrics_full[(metrics_full["subgroup"] != ALL) & (metrics_full["metric"] == "auc")]
    cells = {(str(row["task"]), str(row["subgroup"])): row for row in rows.to_dict("records")}
    kinds: dict[str, list[str]] = {}
    for subgroup in dict.fromkeys(rows["subgroup"].astype(str)):
        kinds.setdefault(subgroup.split(": ")[0].replace("_", " "), []).append(subgroup)
    tasks = [task for task in names if any(key[0] == task for key in cells)]
    tables = {}
    for kind, levels in kinds.items():
        ordered = sorted(levels, key=_band_start)
        body = [[names[task], *(_subgroup_cell(cells[task, level]) for level in ordered)] for task in tasks]
        titles = [level.split(": ", 1)[1] for level in ordered]
        caption = f"AUROC by {kind}; {config.level_text} intervals; positive / negative"
        tables[kind] = Table(caption, ["Task", *titles], body)
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
        return SUPPRESSED
    counts = f"{int(row['n_pos'])} / {int(row['n_neg'])}"
    return f"{with_interval(row['value'], row['ci_low'], row['ci_high'])}; {counts}"


def difference_table(
    subgroup_differences: pd.DataFrame, names: Mapping[str, str], config: AssessConfig, repeated: Collection[str] = ()
) -> Table:
    """Subgroup differences whose interval excludes zero, without the kinds of subgroups that repeat another one."""
    kinds = subgroup_differences["subgroup"].astype(str).str.replace("_", " ")
    counted = subgroup_differences[~kinds.isin(repeated)]
    shown = counted[(counted["ci_low"] > 0) | (counted["ci_high"] < 0)]
    rows = [
        [
            names[str(row["task"])],
            f"{str(row['subgroup']).replace('_', ' ')}: {row['level']} against {row['reference']}",
            {"auc": "AUROC"}.get(str(row["metric"]), str(row["metric"]).capitalize()),
            with_interval(row["difference"], row["ci_low"], row["ci_high"]),
        ]
        for row in shown.to_dict("records")
    ]
    caption = f"Differences whose interval excludes 0: {len(shown)} of {len(counted)}"
    return Table(caption, ["Task", "Subgroup", "Metric", f"Difference ({config.level_text} interval)"], rows)
