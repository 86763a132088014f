"""The archive on disk: every study written by worker processes, put in place as a whole, and its label tables."""

import json
import logging
import multiprocessing
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

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

Tables = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]
REPORT_EVERY_S = 10.0


def write_phantom(folder: Path, config: PhantomConfig) -> Tables:
    """Write the DICOM archive under `folder`/dicom and return its tables.

    Args:
        folder: root of the phantom; created where absent. An earlier phantom in it is replaced as a whole.
        config: size and look.

    Returns:
        (truth, ct_rate, hyperct_wide, echo_metric, cohorts). Only `truth` is true; the others are what hospitals
        would export. Ids in all of them are the raw ones of the DICOM headers; blanks are unknown.

    Raises:
        ArchiveError: `folder` holds files that no phantom wrote.
    """
    studies = plan_studies(config)
    fresh = _empty_folder(folder)
    acquired = list(_write_all(studies, config, fresh))
    _put_in_place(folder, fresh)
    exams = echo_exams(acquired, config.seed)
    return (
        truth_table(acquired),
        ct_rate_table(acquired, config.seed),
        hyperct_wide_table(exams, config.seed),
        echo_metric_table(exams, config.seed),
        cohort_table(studies, config.seed),
    )


def _empty_folder(folder: Path) -> Path:
    """A new, marked folder beside the archive to write into."""
    for place in (folder, folder / "dicom", folder / "labels"):
        _refuse_foreign(place)
    fresh = folder / "dicom.partial"
    _remove(fresh)
    for place in (folder, folder / "labels", fresh):
        place.mkdir(parents=True, exist_ok=True)
        _mark(place)
    return fresh


def _put_in_place(folder: Path, fresh: Path) -> None:
    """Exchange the old archive for the new one; a crash in between leaves one of the two complete."""
    archive, old = folder / "dicom", folder / "dicom.old"
    _remove(old)
    if archive.exists():
        archive.rename(old)
    fresh.rename(archive)
    _remove(old)


def _mark(folder: Path) -> None:
    text = json.dumps({"written_by": "hyperct_pipeline.phantom", "content": "synthetic, no person"}, indent=1)
    (folder / PHANTOM_MARKER).write_text(text + "\n", encoding="utf-8")


def _refuse_foreign(folder: Path) -> None:
    """The marker makes everything below it count as synthetic, so it never joins files of someone else."""
    if not folder.exists() or (folder / PHANTOM_MARKER).is_file():
        return
    if any(not entry.name.startswith(".") for entry in folder.iterdir()):
        raise ArchiveError(
            f"{folder} is not empty and has no {PHANTOM_MARKER}: no phantom wrote it, so nothing there is replaced. "
            "Point phantom_folder at another place or move these files away."
        )


def _remove(folder: Path) -> None:
    if folder.exists():
        _refuse_foreign(folder)
        shutil.rmtree(folder)


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
