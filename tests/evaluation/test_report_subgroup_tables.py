"""Tables of subgroups: what is shown once, and what cannot be shown."""

import pandas as pd

from hyperct_pipeline.evaluation.assess_settings import AssessConfig
from hyperct_pipeline.evaluation.report_subgroup_tables import difference_table, subgroup_aurocs

CONFIG = AssessConfig()
NAMES = {"nodule": "Lung nodule", "effusion": "Pleural effusion"}


def _row(subgroup: str, task: str, value: float, n_pos: int, status: str = "ok") -> dict[str, object]:
    counts = {"n_pos": n_pos, "n_neg": 40, "ci_low": value - 0.1, "ci_high": value + 0.1}
    return {"subgroup": subgroup, "task": task, "metric": "auc", "value": value, "status": status, **counts}


def _levels(kind: str, *levels: str) -> list[dict[str, object]]:
    """Two levels with numbers of their own and one hidden cell."""
    first, second = levels
    return [
        _row(f"{kind}: {first}", "nodule", 0.7, 20),
        _row(f"{kind}: {second}", "nodule", 0.8, 30),
        _row(f"{kind}: {first}", "effusion", 0.6, 25),
        _row(f"{kind}: {second}", "effusion", 0.5, 15, "suppressed"),
    ]


def test_a_kind_that_divides_the_studies_alike_is_said_once() -> None:
    rows = [*_levels("scanner", "X", "Y"), *_levels("kernel", "B70f", "B30f")]
    found = subgroup_aurocs(pd.DataFrame(rows), NAMES, CONFIG)
    assert [table.caption.split(";")[0] for table in found.tables] == ["AUROC by scanner"]
    assert found.notes == [
        "By kernel the studies are divided as by scanner: every number is the same, so it is shown once."
    ]
    assert found.repeated == {"kernel"}
    # one study more in one cell is another division
    rows[4] = _row("kernel: B70f", "nodule", 0.7, 21)
    found = subgroup_aurocs(pd.DataFrame(rows), NAMES, CONFIG)
    assert len(found.tables) == 2 and not found.notes and not found.repeated


def test_differences_of_a_kind_that_repeats_another_are_counted_once() -> None:
    place = {"task": "nodule", "level": "b", "reference": "a", "metric": "auc", "difference": 0.2, "ci_high": 0.3}
    table = pd.DataFrame(
        [
            place | {"subgroup": "scanner", "ci_low": 0.1},
            place | {"subgroup": "kernel", "ci_low": 0.1},
            place | {"subgroup": "slice_thickness", "ci_low": -0.1},
        ]
    )
    shown = difference_table(table, NAMES, CONFIG, {"kernel"})
    assert shown.caption == "Differences whose interval excludes 0: 1 of 2"
    assert [row[1] for row in shown.rows] == ["scanner: b against a"]
    assert difference_table(table, NAMES, CONFIG, {"slice thickness"}).caption.endswith("2 of 2")


def test_a_kind_without_any_cell_to_show_is_a_sentence() -> None:
    hidden = [row | {"status": "suppressed"} for row in _levels("slice_thickness", "< 3", ">= 3")]
    found = subgroup_aurocs(pd.DataFrame([*_levels("sex", "F", "M"), *hidden]), NAMES, CONFIG)
    assert [table.caption.split(";")[0] for table in found.tables] == ["AUROC by sex"]
    assert found.notes == [
        "By slice thickness (< 3, >= 3) no cell can be shown: each is too small, or would give a small one away."
    ]
