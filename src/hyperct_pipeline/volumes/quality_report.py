"""Quality of a whole archive: each volume is read once, and a table tells every converted study's verdict.

Each study is read in a process of its own, so that a damaged file or a hanging disk costs one row.
A finished row says of which volume (digest, size of its file) and by which version of the checks it was measured;
what is new or changed is measured again, and what could not be read is tried again.
"""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from hyperct_pipeline.errors import MissingInputError
from hyperct_pipeline.study_workers import ONE_AT_A_TIME, Failure, WorkersConfig
from hyperct_pipeline.volumes.converted import REMEDIES, ConvertedVolumeError, NiftiFiles, converted_volume
from hyperct_pipeline.volumes.due import Due, Row, Rows, outcomes
from hyperct_pipeline.volumes.progress import Progress
from hyperct_pipeline.volumes.quality import REJECT, WORST_FIRST, Judgement, QualityConfig, judge
from hyperct_pipeline.volumes.quality_checks import CHECKS, CHECKS_VERSION, measure
from hyperct_pipeline.volumes.thumbnail import thumbnail

logger = logging.getLogger(__name__)

_COLUMN_TYPES = {
    "study_key": "string",
    "verdict": "string",  # accept / warn / reject
    "reason_codes": "string",  # joined by ";"
    "message": "string",  # what to do, where the volume could not be read
    "scanner": "string",
    "content_sha256": "string",  # of the volume that was judged
    **dict.fromkeys(CHECKS, "Float64"),  # null where the volume could not be read or the number is not defined
}


def studies_due(manifest: pd.DataFrame, files: NiftiFiles, done: Rows, pictures: Collection[str]) -> list[Due]:
    """The converted studies that are new or changed.

    Args:
        manifest: of the conversion.
        files: NIfTI by study key.
        done: rows of earlier runs by study key.
        pictures: keys of the studies that have a thumbnail.

    Raises:
        MissingInputError: nothing was converted yet.
    """
    if manifest.shape == (0, 0):
        raise MissingInputError("There is no conversion manifest yet: `kedro run --pipeline=convert` makes it.")
    if "content_sha256" not in manifest:
        raise MissingInputError("The conversion manifest is of an earlier release: run `kedro run --pipeline=convert`.")
    converted = [Due(_wanted(study, files), files.get(study["study_key"])) for study in _converted(manifest)]
    return [due for due in converted if not (due.key in pictures and _is_done(due.wanted, done.get(due.key)))]


def examine_all(due: Sequence[Due], workers: WorkersConfig = ONE_AT_A_TIME) -> Iterator[tuple[Row, bytes | None]]:
    """A row per study as they finish, and its thumbnail where the volume could be read."""
    progress = Progress("quality", len(due))
    for study, outcome in outcomes(examine, due, workers):
        if isinstance(outcome, Failure):
            outcome = _unread(study, outcome.code), None
        progress.count(usable=outcome[1] is not None)
        yield outcome


def examine(study: Due) -> tuple[Row, bytes | None]:
    """One study: what was asked for, with its numbers or the reason why there are none; and its thumbnail."""
    wanted = study.wanted
    try:
        volume = converted_volume(study.file, wanted["content_sha256"])
    except ConvertedVolumeError as error:
        return _unread(study, str(error)), None
    numbers = measure(volume, frozenset(wanted["warnings"].split(";")))
    return wanted | {"reason": "", "numbers": numbers}, thumbnail(volume)


def _unread(study: Due, reason: str) -> Row:
    return study.wanted | {"reason": reason, "numbers": {}}


def quality_table(manifest: pd.DataFrame, rows: Rows, config: QualityConfig) -> pd.DataFrame:
    """One row per converted study of the manifest, in its order."""
    table = pd.DataFrame(
        [_judged(rows[study["study_key"]], config) | {"scanner": study["scanner"]} for study in _converted(manifest)],
        columns=list(_COLUMN_TYPES),
    ).astype(_COLUMN_TYPES)
    logger.info("Verdicts: %s", table["verdict"].value_counts().to_dict())
    for reason, remedy in REMEDIES.items():
        if count := int((table["reason_codes"] == reason).sum()):
            logger.warning("%d converted volumes are %s. %s", count, reason, remedy)
    return table


def worst_first(table: pd.DataFrame) -> pd.DataFrame:
    """The quality table with problem studies first."""
    order = {verdict: rank for rank, verdict in enumerate(WORST_FIRST)}
    return table.assign(order=table["verdict"].map(order)).sort_values(["order", "study_key"]).drop(columns="order")


def _converted(manifest: pd.DataFrame) -> list[Row]:
    columns = ["study_key", "content_sha256", "warnings", "scanner"]
    converted = manifest.loc[manifest["status"] == "converted", columns]
    return [{str(name): value for name, value in study.items()} for study in converted.to_dict("records")]


def _wanted(study: Row, files: NiftiFiles) -> Row:
    """What the row of this study has to say for itself to count as done."""
    file = files.get(study["study_key"])
    return {
        "study_key": study["study_key"],
        "content_sha256": study["content_sha256"],
        "warnings": study["warnings"],
        "nifti_bytes": file.n_bytes if file else None,
        "checks_version": CHECKS_VERSION,
    }


def _is_done(wanted: Row, row: Mapping[str, Any] | None) -> bool:
    return row is not None and row.get("reason") == "" and all(row.get(key) == wanted[key] for key in wanted)


def _judged(row: Mapping[str, Any], config: QualityConfig) -> Row:
    judgement = Judgement(REJECT, (row["reason"],)) if row["reason"] else judge(row["numbers"], config.limits)
    return {
        "study_key": row["study_key"],
        "verdict": judgement.verdict,
        "reason_codes": ";".join(judgement.reasons),
        "message": REMEDIES.get(row["reason"], ""),
        "content_sha256": row["content_sha256"],
        **row["numbers"],
    }
