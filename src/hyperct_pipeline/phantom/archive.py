"""The archive on disk: every study written by worker processes, put in place with its label tables."""

import json
import logging
import multiprocessing
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from hyperct_pipeline.errors import ArchiveError
from hyperct_pipeline.phantom.acquisition import Acquired, write_study
from hyperct_pipeline.phantom.cohort import PhantomConfig, Study, plan_studies
from hyperct_pipeline.phantom.tables import (
    cohort_table,
    ct_rate_table,
    echo_exams,
    echo_metric_table,
    hyperct_wide_table,
)
from hyperct_pipeline.phantom.truth import truth_table
from hyperct_pipeline.pseudonyms import PHANTOM_MARKER

logger = logging.getLogger(__name__)

PARTS = ("dicom", "labels")
UNFINISHED = ".unfinished"  # beside them: what is not yet, or no longer, the archive
REPORT_EVERY_S = 10.0


class Tables(NamedTuple):
    """What stands under labels/, one CSV file each by these names.

    Only `truth` is true; the others are what hospitals would export. Ids are the raw ones of the DICOM headers, blanks
    are unknown.
    """

    truth: pd.DataFrame
    ct_rate: pd.DataFrame
    hyperct_wide: pd.DataFrame
    echo_metric: pd.DataFrame
    cohorts: pd.DataFrame


def write_phantom(folder: Path, config: PhantomConfig) -> Tables:
    """Write images under `folder`/dicom and their tables under `folder`/labels, and return the tables.

    Both are finished aside and then exchanged for those of an earlier phantom. Whenever the run is killed, tables
    stand beside the images they belong to or nowhere.

    Args:
        folder: root of the phantom; created where absent. An earlier phantom in it is replaced as a whole.
        config: size and look.

    Raises:
        ArchiveError: `folder` holds files that no phantom wrote.
    """
    studies = plan_studies(config)
    fresh = _empty_folder(folder)
    acquired = list(_write_all(studies, config, fresh / "dicom"))
    tables = _tables(studies, acquired, config.seed)
    for name, table in tables._asdict().items():
        table.to_csv(fresh / "labels" / f"{name}.csv", index=False)
    _put_in_place(folder, fresh)
    return tables


def _tables(studies: list[Study], acquired: list[Acquired], seed: int) -> Tables:
    exams = echo_exams(acquired, seed)
    return Tables(
        truth=truth_table(acquired),
        ct_rate=ct_rate_table(acquired, seed),
        hyperct_wide=hyperct_wide_table(exams, seed),
        echo_metric=echo_metric_table(exams, seed),
        cohorts=cohort_table(studies, seed),
    )


def _empty_folder(folder: Path) -> Path:
    """A new folder inside the phantom's to write into, with marked places for images and tables."""
    for part in (".", *PARTS):
        _refuse_foreign(folder, part)
    fresh = folder / UNFINISHED / "new"
    if fresh.parent.exists():  # of a killed run
        shutil.rmtree(fresh.parent)
    for place in (folder, *(fresh / part for part in PARTS)):
        place.mkdir(parents=True, exist_ok=True)
        _mark(place)
    return fresh


def _put_in_place(folder: Path, fresh: Path) -> None:
    """Exchange the old archive for the new one; the tables leave first and come last, see `write_phantom`."""
    old = folder / UNFINISHED / "old"
    old.mkdir()
    for part in reversed(PARTS):
        if (folder / part).exists():
            (folder / part).rename(old / part)
    for part in PARTS:
        (fresh / part).rename(folder / part)
    shutil.rmtree(folder / UNFINISHED)


def _mark(folder: Path) -> None:
    text = json.dumps({"written_by": "hyperct_pipeline.phantom", "content": "synthetic, no person"}, indent=1)
    (folder / PHANTOM_MARKER).write_text(text + "\n", encoding="utf-8")


def _refuse_foreign(folder: Path, part: str) -> None:
    """The marker makes everything below it count as synthetic, so it never joins files of someone else."""
    place = folder / part
    if not place.exists() or (place / PHANTOM_MARKER).is_file():
        return
    if any(not entry.name.startswith(".") for entry in place.iterdir()):
        where = "The folder phantom_folder" if part == "." else f"The folder '{part}' of phantom_folder"
        raise ArchiveError(
            f"{where} is not empty and has no {PHANTOM_MARKER}: no phantom wrote it, so nothing there is replaced. "
            "Point phantom_folder at another place or move these files away."
        )


def _write_all(studies: list[Study], config: PhantomConfig, folder: Path) -> Iterator[Acquired]:
    """Studies in their order, written by `n_workers` processes."""
    write = partial(write_study, config=config, folder=folder)
    if config.n_workers == 1:
        yield from _logged(map(write, studies), len(studies))
        return
    # spawn: the parent may hold threads (kedro, BLAS) that do not survive a fork
    with ProcessPoolExecutor(config.n_workers, multiprocessing.get_context("spawn")) as pool:
        yield from _logged(pool.map(write, studies, chunksize=4), len(studies))


def _logged(results: Iterator[Acquired], total: int) -> Iterator[Acquired]:
    start = last = time.monotonic()
    for done, result in enumerate(results, 1):
        yield result
        now = time.monotonic()
        if now - last >= REPORT_EVERY_S or done == total:
            last = now
            rate = done / max(now - start, 1e-6)
            logger.info("Phantom: %d of %d studies, %.1f per s, %.0f s left", done, total, rate, (total - done) / rate)
