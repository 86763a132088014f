"""HTML pages to skim a whole archive by eye: problem studies first, a picture and all numbers of each.

A page stands alone (pictures embedded, no script, nothing is fetched) and holds a limited number of studies, so that a
browser opens it in an archive of any size. Cohorts are not known when quality is judged, and pages per scanner would
scatter the problems: all studies share one series of pages, and the first page counts verdicts by scanner.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from hyperct_pipeline.offline_html import embedded, environment
from hyperct_pipeline.volumes.quality import WORST_FIRST, Limits, QualityConfig
from hyperct_pipeline.volumes.quality_report import worst_first

TEMPLATES = Path(__file__).parent / "templates"

Pictures = Mapping[str, Callable[[], bytes]]


@dataclass(frozen=True)
class Line:
    """One check of one study as the page shows it."""

    check: str
    value: str
    limits: str
    verdict: str


def quality_pages(table: pd.DataFrame, pictures: Pictures, config: QualityConfig) -> dict[str, Callable[[], bytes]]:
    """Functions that make one page each, by name: `index`, then `page_2` and so on.

    Args:
        table: the quality table.
        pictures: thumbnail of each study that could be read; loaded when its page is made.
        config: limits, and studies per page.
    """
    ordered = worst_first(table)
    n_pages = max(1, math.ceil(len(ordered) / config.page_studies))
    names = ["index", *(f"page_{number}" for number in range(2, n_pages + 1))]
    frame = {
        "n_studies": len(table),
        "pages": names,
        "first_pages": _first_pages(ordered, config.page_studies, names),
        "scanners": _by_scanner(table),
        "reasons": _by_reason(table),
    }
    return {
        name: partial(
            _page, ordered.iloc[place * config.page_studies :][: config.page_studies], name, frame, pictures, config
        )
        for place, name in enumerate(names)
    }


def _page(
    studies: pd.DataFrame, name: str, frame: Mapping[str, Any], pictures: Pictures, config: QualityConfig
) -> bytes:
    cards = (_card(study, pictures, config) for study in studies.to_dict("records"))
    return environment(TEMPLATES).get_template("quality_page.html.j2").render(name=name, cards=cards, **frame).encode()


def _card(study: Mapping[Any, Any], pictures: Pictures, config: QualityConfig) -> dict[str, Any]:
    """What the template shows of one study."""
    readable = not pd.isna(study["slice_count"])
    return {
        "key": study["study_key"],
        "verdict": study["verdict"],
        "reasons": [reason for reason in study["reason_codes"].split(";") if reason],
        "message": study["message"],
        "scanner": "unknown scanner" if pd.isna(study["scanner"]) else study["scanner"],
        "picture": embedded(pictures[study["study_key"]]()) if readable else None,
        "lines": [line_of(check, study[check], limits) for check, limits in config.limits.items()] if readable else [],
    }


def line_of(check: str, value: Any, limits: Limits) -> Line:
    """Number and limits of a check as text, and its verdict."""
    number = None if pd.isna(value) else float(value)
    parts = [
        f"{word} {sign} {limit:g}"
        for word, sign, limit in (
            ("warn", "<", limits.warn_below),
            ("warn", ">", limits.warn_above),
            ("reject", "<", limits.reject_below),
            ("reject", ">", limits.reject_above),
        )
        if limit is not None
    ]
    shown = "not defined" if number is None else f"{number:.4g}"
    return Line(check.replace("_", " "), shown, ", ".join(parts), limits.judge(number)[0])


def _first_pages(ordered: pd.DataFrame, page_studies: int, names: Sequence[str]) -> list[tuple[str, int, str]]:
    """Each verdict, how many studies have it, and the page on which they begin."""
    verdicts = list(ordered["verdict"])
    found = [(verdict, verdicts.count(verdict)) for verdict in WORST_FIRST]
    return [
        (verdict, count, names[verdicts.index(verdict) // page_studies] if count else "") for verdict, count in found
    ]


def _by_scanner(table: pd.DataFrame) -> list[tuple[str, list[int]]]:
    """Scanner, and how many of its studies have each verdict, worst first."""
    counts = pd.crosstab(table["scanner"].fillna("unknown scanner"), table["verdict"])
    counts = counts.reindex(columns=list(WORST_FIRST), fill_value=0)
    return [
        (str(scanner), [int(count) for count in row]) for scanner, row in zip(counts.index, counts.values, strict=True)
    ]


def _by_reason(table: pd.DataFrame) -> list[tuple[str, int]]:
    """Reason codes, the most frequent first."""
    reasons = table["reason_codes"].str.split(";").explode()
    return [(str(reason), int(count)) for reason, count in reasons[reasons != ""].value_counts().items()]
