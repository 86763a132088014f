"""From a source's tables to three-valued labels: the one documented entry point, and the steps it shares."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from hyperct_pipeline.errors import ConfigError, LabelTableError
from hyperct_pipeline.labels.intervals import REASON_TEXTS, Intervals, Reason, texts
from hyperct_pipeline.labels.pairing import Gaps, LinkageConfig, pair
from hyperct_pipeline.labels.readers import Reading, patient_days, read_echo, read_findings
from hyperct_pipeline.labels.rules import Truth, evaluate
from hyperct_pipeline.labels.sources import EchoIdConfig, EchoWide, FindingsWide, LabelSourcesConfig, load_sources
from hyperct_pipeline.labels.tables import as_text, needed_column
from hyperct_pipeline.labels.tasks import Task, TaskCatalogue, TaskCatalogueConfig, load_catalogue
from hyperct_pipeline.pseudonyms import DEMO_SECRET, Pseudonyms

logger = logging.getLogger(__name__)

LABEL_COLUMNS = (
    "study_key", "task", "label", "reason", "rule_id", "definition_set", "evidence", "source", "echo_gap_days",
)  # fmt: skip
CT_TABLE = "ct"
CT_IDS = EchoIdConfig(patient="patient_id", date=("date",))


@dataclass(frozen=True)
class Observed:
    """What one source says about studies.

    Attributes:
        study_key: text, shape (n,).
        intervals: quantity or finding -> its intervals, n rows each.
        gap_days: quantity -> days from CT to echo, shape (n,), NaN where that means nothing.
    """

    study_key: "pd.Series[str]"
    intervals: Mapping[str, Intervals]
    gap_days: Gaps


def harmonize(
    source: str,
    tables: Mapping[str, pd.DataFrame],
    catalogue: TaskCatalogue | TaskCatalogueConfig | Mapping[str, Any],
    sources: LabelSourcesConfig | Mapping[str, Any],
    linkage: LinkageConfig | Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Three-valued labels of one source.

    Args:
        source: name of the source, a key of `label_sources.sources`.
        tables: name -> table. The source's own table stands under the source's name (any name if it is the only
            one), a list of excluded studies under its name in `exclude_tables`, and with `linkage` the CTs under
            "ct" (columns patient_id and date). Cells may be text or numbers.
        catalogue: the tasks, loaded or as `params:task_catalogue`.
        sources: the formats, as `params:label_sources`.
        linkage: given = the echoes are paired with the CTs of the table "ct".

    Returns:
        One row per study and task of the catalogue: study_key, task, label (Int8: 1, 0, missing), reason, rule_id,
        definition_set, evidence (the numbers behind it, "" where unknown), source, echo_gap_days (Int64). Studies are
        numbered "1", "2", ... in the order in which the table (with linkage: the CT table) first names them;
        identifiers never come out. Without an id column every row is a study; an echo without linkage is one.

    Raises:
        LabelTableError: unknown source, or a table lacks what its source declares.
        ConfigError: the catalogue or the sources are wrong.

    Example:
        >>> harmonize("hyperct_wide", {"echo": pd.DataFrame({"ECHO_lvef_value": ["45%"]})}, catalogue, sources)
    """
    catalogue = load_catalogue(catalogue)
    config = load_sources(sources, catalogue).of(source)
    # ids only need to be told apart here, and the keys are replaced by numbers below
    pseudonyms = Pseudonyms(DEMO_SECRET)
    own = {name: table for name, table in tables.items() if name != CT_TABLE or linkage is None}
    reading = read_source(source, own, config, catalogue, pseudonyms, need_ids=linkage is not None)
    if linkage is None:
        keys = numbered(len(reading.rows))
        excluded = reading.rows["excluded"].to_numpy(bool)
        values = {name: value.because(excluded, Reason.EXCLUDED) for name, value in reading.intervals.items()}
        observed = Observed(keys, values, {})
    else:
        if CT_TABLE not in tables:
            raise LabelTableError(f"Pairing needs the table '{CT_TABLE}' (columns patient_id, date); it was not given.")
        ct = as_text(tables[CT_TABLE], CT_TABLE)
        studies = patient_days(ct, CT_TABLE, CT_IDS, pseudonyms, need_ids=True, issuer=config.issuer)
        values, gaps = pair(studies, reading, load_linkage(linkage))
        observed = Observed(numbered(len(studies)), values, gaps)
    return label_table(observed, verdicts(observed, catalogue), catalogue, source)


def load_linkage(config: LinkageConfig | Mapping[str, Any]) -> LinkageConfig:
    """The linkage settings, checked.

    Raises:
        ConfigError: an unknown key or an impossible value.
    """
    try:
        return TypeAdapter(LinkageConfig).validate_python(config)
    except ValidationError as error:
        listed = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"linkage does not have the expected form: {listed}") from None


def read_source(
    source: str,
    tables: Mapping[str, pd.DataFrame],
    config: FindingsWide | EchoWide,
    catalogue: TaskCatalogue,
    pseudonyms: Pseudonyms,
    need_ids: bool = True,
) -> Reading:
    """Read the table of one source out of all tables given."""
    lists = config.exclude_tables if isinstance(config, FindingsWide) else ()
    own = {name: table for name, table in tables.items() if name not in lists}
    if source not in own and len(own) != 1:
        raise LabelTableError(f"No table for the source '{source}': found {sorted(own) or 'none'}.")
    table = own[source] if source in own else next(iter(own.values()))
    if isinstance(config, EchoWide):
        return read_echo(source, table, config, catalogue, pseudonyms, need_ids)
    given = [needed_column(as_text(tables[n], n), n, config.id.column) for n in lists if n in tables]
    excluded = pd.concat(given, ignore_index=True) if given else None
    return read_findings(source, table, config, catalogue, pseudonyms, excluded, need_ids)


def verdicts(observed: Observed, catalogue: TaskCatalogue) -> dict[str, Truth]:
    """Task -> its truth per study."""
    n = len(observed.study_key)
    return {task.id: evaluate(task.rule, observed.intervals, n, catalogue.or_rule) for task in catalogue.tasks}


def label_table(observed: Observed, truths: Mapping[str, Truth], catalogue: TaskCatalogue, source: str) -> pd.DataFrame:
    """The long label table, columns `LABEL_COLUMNS`, tasks in order of the catalogue within each study."""
    n, n_tasks = len(observed.study_key), len(catalogue.tasks)
    evidence = {name: texts(value, _level_names(name, catalogue)) for name, value in observed.intervals.items()}
    true, known, reason = (np.zeros((n, n_tasks), kind) for kind in (bool, bool, np.int8))
    evidences, gaps = np.full((n, n_tasks), "", object), np.full((n, n_tasks), np.nan)
    for column, task in enumerate(catalogue.tasks):
        truth = truths[task.id]
        true[:, column], known[:, column], reason[:, column] = truth.true, truth.known, truth.reason
        evidences[:, column] = _evidence(task, evidence, n)
        gaps[:, column] = _gap(task, observed.gap_days, n)
    return pd.DataFrame(
        {
            "study_key": pd.Series(np.repeat(observed.study_key.to_numpy(), n_tasks), dtype="str"),
            "task": pd.Series(np.tile(np.array(catalogue.ids, object), n), dtype="str"),
            "label": int8(true.ravel(), known.ravel()),
            "reason": pd.Series(REASON_TEXTS[reason.ravel()], dtype="str"),
            "rule_id": pd.Series(
                np.tile(np.array([f"{catalogue.definition_set}.{t}" for t in catalogue.ids], object), n), dtype="str"
            ),
            "definition_set": pd.Series(np.full(n * n_tasks, catalogue.definition_set, object), dtype="str"),
            "evidence": pd.Series(evidences.ravel(), dtype="str"),
            "source": pd.Series(np.full(n * n_tasks, source, object), dtype="str"),
            "echo_gap_days": pd.Series(gaps.ravel()).astype("Int64"),
        }
    )


def int8(true: NDArray[np.bool_], known: NDArray[np.bool_]) -> "pd.Series[Any]":
    """1 where true, 0 where known and not true, missing elsewhere; nullable Int8."""
    return pd.Series(pd.arrays.IntegerArray(true.astype(np.int8), ~known))


def numbered(n: int) -> "pd.Series[str]":
    """ "1", "2", ..., as keys of studies that have no other."""
    return pd.Series([str(k) for k in range(1, n + 1)], dtype="str")


def _level_names(name: str, catalogue: TaskCatalogue) -> tuple[str, ...]:
    return catalogue.quantities[name].levels if name in catalogue.quantities else ("absent", "present")


def _evidence(task: Task, evidence: Mapping[str, NDArray[np.object_]], n: int) -> NDArray[np.object_]:
    """ "e_a_ratio 0.9; tr_vmax 2.5" per study."""
    joined = np.full(n, "", object)
    for name in task.inputs:
        if name in evidence:
            there = evidence[name] != ""
            stated = np.where(there, f"{name} " + evidence[name], "")
            joined = joined + np.where((joined != "") & there, "; ", "") + stated
    return joined


def _gap(task: Task, gaps: Gaps, n: int) -> NDArray[np.float64]:
    """The gap of the farthest examination behind a label."""
    farthest = np.full(n, np.nan)
    for name in task.inputs:
        if name in gaps:
            farther = np.isnan(farthest) | (np.abs(gaps[name]) > np.abs(farthest))
            farthest = np.where(farther & ~np.isnan(gaps[name]), gaps[name], farthest)
    return farthest
