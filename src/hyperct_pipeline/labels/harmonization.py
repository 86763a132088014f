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
from hyperct_pipeline.labels.reading import warn_of
from hyperct_pipeline.labels.rules import Truth, evaluate
from hyperct_pipeline.labels.similar_ids import warn_of_similar_ids
from hyperct_pipeline.labels.source_tables import ct_studies, read_source
from hyperct_pipeline.labels.sources import LabelSourcesConfig, load_definitions
from hyperct_pipeline.labels.tasks import Task, TaskCatalogue, TaskCatalogueConfig
from hyperct_pipeline.pseudonyms import DEMO_SECRET, Pseudonyms

logger = logging.getLogger(__name__)

LABEL_COLUMNS = (
    "study_key", "task", "label", "reason", "rule_id", "definition_set", "evidence", "source", "echo_gap_days",
)  # fmt: skip
CT_TABLE = "ct"


@dataclass(frozen=True)
class Observed:
    """What one source says about studies.

    Attributes:
        study_key: text, shape (n,).
        intervals: quantity or finding -> its intervals, n rows each.
        gap_days: quantity -> days from CT to echo, shape (n,), NaN where that means nothing.
        excluded: shape (n,), bool; the study or examination does not count, so no label of it is known.
    """

    study_key: "pd.Series[str]"
    intervals: Mapping[str, Intervals]
    gap_days: Gaps
    excluded: NDArray[np.bool_]


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
            one), tables it reads besides under the names its configuration gives them (`exclude_tables`,
            `id.patient_from`), and with `linkage` the CTs under "ct" (columns patient_id, date, optionally study_id).
            Cells may be text or numbers.
        catalogue: the tasks, loaded or as `params:task_catalogue`.
        sources: the formats, as `params:label_sources`.
        linkage: given = the echoes are paired with the CTs of the table "ct".

    Returns:
        One row per study and task of the catalogue: study_key, task, label (Int8: 1, 0, missing), reason, rule_id,
        definition_set, evidence (the numbers behind it, "" where unknown), source, echo_gap_days (Int64). Studies are
        numbered "1", "2", ... in the order in which the table (with linkage: the CT table) first names them;
        identifiers never come out. Without an id column every row is a study, and so is a row whose id is blank;
        without linkage an echo examination is one, and rows of one patient and day are one examination.

    Raises:
        LabelTableError: unknown source, or a table lacks what its source declares.
        LeakageError: a study or examination stands under two patients.
        ConfigError: the catalogue or the sources are wrong.

    Example:
        >>> harmonize("hyperct_wide", {"echo": pd.DataFrame({"ECHO_lvef_value": ["45%"]})}, catalogue, sources)
    """
    catalogue, formats = load_definitions(catalogue, sources)
    linkage = None if linkage is None else load_linkage(linkage)
    # ids only need to be told apart here, and the keys are replaced by numbers below
    pseudonyms = Pseudonyms(DEMO_SECRET)
    own = {name: table for name, table in tables.items() if name != CT_TABLE or linkage is None}
    reading = read_source(source, own, formats, catalogue, pseudonyms, need_ids=linkage is not None)
    warn_of(reading)
    if linkage is None:
        warn_of_similar_ids([reading.similar_ids])
        excluded = reading.rows["excluded"].to_numpy(bool)
        values = {name: value.because(excluded, Reason.EXCLUDED) for name, value in reading.intervals.items()}
        observed = Observed(numbered(len(reading.rows)), values, {}, excluded)
    else:
        if "day" not in reading.rows:
            raise LabelTableError(
                f"Source '{source}' holds no echo examinations: leave linkage out to read its labels."
            )
        if CT_TABLE not in tables:
            raise LabelTableError(f"Pairing needs the table '{CT_TABLE}' (columns patient_id, date); it was not given.")
        studies, similar_ids = ct_studies(tables[CT_TABLE], CT_TABLE, pseudonyms, formats.of(source).issuer)
        warn_of_similar_ids([reading.similar_ids, similar_ids])
        values, gaps = pair(studies, reading, linkage)
        observed = Observed(numbered(len(studies)), values, gaps, np.zeros(len(studies), bool))
    return label_table(observed, verdicts(observed, catalogue), catalogue, source)


def load_linkage(config: LinkageConfig | Mapping[str, Any]) -> LinkageConfig:
    """The linkage settings, checked; those of `params:harmonize` as a whole will do.

    Raises:
        ConfigError: an unknown key or an impossible value.
    """
    if isinstance(config, Mapping):
        config = config.get("linkage", config)
    try:
        return TypeAdapter(LinkageConfig).validate_python(config)
    except ValidationError as error:
        listed = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"linkage does not have the expected form: {listed}") from None


def verdicts(observed: Observed, catalogue: TaskCatalogue) -> dict[str, Truth]:
    """Task -> its truth per study."""
    n, out = len(observed.study_key), observed.excluded
    truths = {task.id: evaluate(task.rule, observed.intervals, n, catalogue.or_rule) for task in catalogue.tasks}
    return {name: truth.because(out, Reason.EXCLUDED) for name, truth in truths.items()}


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
