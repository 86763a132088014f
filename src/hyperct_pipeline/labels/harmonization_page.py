"""The harmonization report as one HTML page that stands alone: for the people who have to sign the labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from hyperct_pipeline.labels.rule_text import rule_words
from hyperct_pipeline.labels.tasks import TaskCatalogue, TaskCatalogueConfig, load_catalogue
from hyperct_pipeline.labels.unmapped_words import yaml_stub
from hyperct_pipeline.offline_html import embedded, environment

TEMPLATES = Path(__file__).parent / "templates"
SECTIONS = (
    ("flow", "Who is in"), ("labels", "Labels"), ("pairing", "CT and echo"), ("sets", "Definition sets"),
    ("splits", "Splits"), ("repair", "What to repair"),
)  # fmt: skip
SHOWN_WORDS = 200
DASH = "\N{EN DASH}"


@dataclass(frozen=True)
class PageTable:
    """A table ready for HTML: the first cell of a row is its header; text: numbers of the columns that hold text."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    text: frozenset[int]


@dataclass(frozen=True)
class Evidence:
    """The tables of the harmonization, as the catalog names them."""

    harmonization_report: pd.DataFrame
    eligibility: pd.DataFrame
    cohort_flow: pd.DataFrame
    pairing_counts: pd.DataFrame
    definition_flips: pd.DataFrame
    unmapped_words: pd.DataFrame
    label_conflicts: pd.DataFrame
    unit_suspicions: pd.DataFrame


def harmonization_page(evidence: Evidence, pictures: Mapping[str, bytes], config: TaskCatalogueConfig) -> str:
    """The page.

    Args:
        evidence: the tables.
        pictures: PNG files by name: prevalence, missingness, co_occurrence, echo_gap.
        config: the task catalogue, for names, rules and descriptions.
    """
    catalogue = load_catalogue(config)
    template = environment(TEMPLATES).get_template("harmonization.html.j2")
    return template.render(
        n_studies=len(evidence.eligibility),
        n_eligible=int(evidence.eligibility["eligible"].sum()),
        n_tasks=len(catalogue.ids),
        definition_set=catalogue.definition_set,
        description=config.definition_sets[catalogue.definition_set].description,
        sections=SECTIONS,
        tables=_tables(evidence, catalogue),
        stubs=_stubs(evidence.unmapped_words, catalogue),
        pictures={name: embedded(png) for name, png in pictures.items()},
    )


def _tables(evidence: Evidence, catalogue: TaskCatalogue) -> dict[str, PageTable]:
    report = evidence.harmonization_report
    by = {section: part.drop(columns="section") for section, part in report.groupby("section")}
    nothing = report.iloc[:0].drop(columns="section")
    conflicts = evidence.label_conflicts.groupby(["task", "source", "reason"]).size().reset_index(name="labels")
    flips = evidence.definition_flips
    changed = flips[flips["same"] < flips["studies"]]
    return {
        "sources": _table("Rows and cells of each table", _dropped(by.get("source", nothing), "split")),
        "eligibility": _table("Studies by eligibility (a study may have several reasons)",
                              by.get("eligibility", nothing)[["item", "count"]]),
        "flow": _table("Studies at each step, by cohort", evidence.cohort_flow),
        "tasks": _table("Studies by task: positive, negative, and unknown by reason",
                        _wide(by.get("task", nothing), "item")),
        "splits": _table("Positive, negative and unknown by task and split", _by_split(by.get("split", nothing))),
        "few": _table("Too few positives", by.get("few_positives", nothing)),
        "pairing": _table("Studies with a resting echo within so many days", _pairing(evidence.pairing_counts)),
        "flips": _table("Labels that change", changed),
        "words": _table(f"Texts that stand for nothing known (at most {SHOWN_WORDS} are shown)",
                        evidence.unmapped_words.drop(columns="readable").head(SHOWN_WORDS)),
        "suspicions": _table("Implausible values that another unit would explain", evidence.unit_suspicions),
        "conflicts": _table("Statements that contradict each other (label_conflicts.csv names the studies)", conflicts),
        "rules": _rules(catalogue),
    }  # fmt: skip


def _table(caption: str, frame: pd.DataFrame) -> PageTable:
    rows = [[DASH if pd.isna(cell) else str(cell) for cell in row] for row in frame.itertuples(index=False)]
    text = frozenset(k for k, name in enumerate(frame.columns) if not pd.api.types.is_numeric_dtype(frame[name]))
    return PageTable(caption, [str(column).replace("_", " ") for column in frame.columns], rows, text)


def _dropped(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    return frame.drop(columns=column)


def _wide(frame: pd.DataFrame, row: str) -> pd.DataFrame:
    """One row per task, one column per reason, in the order of first appearance; no study is a 0."""
    order = list(dict.fromkeys(frame[row]))
    wide = frame.pivot_table(index=row, columns="reason", values="count", aggfunc="sum", fill_value=0).reindex(order)
    first = [name for name in ("1", "0") if name in wide.columns]
    return wide[[*first, *(name for name in wide.columns if name not in first)]].astype("int64").reset_index()


def _by_split(frame: pd.DataFrame) -> pd.DataFrame:
    if frame.empty:
        return frame
    column = frame["split"] + ", " + frame["reason"]
    wide = _wide(frame.assign(reason=column), "item")
    return wide[["item", *[name for name in dict.fromkeys(column) if name in wide.columns]]]


def _pairing(counts: pd.DataFrame) -> pd.DataFrame:
    if counts.empty:
        return counts
    days = counts["within_days"].astype("str") + " days"
    named = counts.assign(within=days, row=counts["source"] + ": " + counts["item"])
    wide = named.pivot_table(index="row", columns="within", values="studies_with_value", aggfunc="sum", sort=False)
    return wide.astype("int64").reset_index()


def _rules(catalogue: TaskCatalogue) -> PageTable:
    rows = [
        [task.name, task.group, rule_words(task.rule, catalogue.quantities), task.reference] for task in catalogue.tasks
    ]
    return PageTable(
        "What each label means", ["task", "group", "positive when", "reference"], rows, frozenset({0, 1, 2, 3})
    )


def _stubs(words: pd.DataFrame, catalogue: TaskCatalogue) -> list[tuple[str, str]]:
    levels = {name: quantity.levels for name, quantity in catalogue.quantities.items() if quantity.levels}
    stubs = [(str(source), yaml_stub(part, levels)) for source, part in words.groupby("source")]
    return [(source, stub) for source, stub in stubs if stub]
