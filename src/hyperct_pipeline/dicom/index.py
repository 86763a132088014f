"""The index of an archive: every file's header read once, and groups of images given back study by study.

A file that is no DICOM or cannot be read is counted and named in the `problems` of the groups beside it; a folder
that cannot be opened, or whose DICOM files are all unreadable, is listed as lost. None of them stops the index.
"""

import logging
import time
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from hyperct_pipeline.dicom.archive import folder_of, is_mounted, relative_folder, walk
from hyperct_pipeline.dicom.header import Header, read_header
from hyperct_pipeline.dicom.series import SeriesGroup, group_headers, identity_of
from hyperct_pipeline.dicom.spool import Spool
from hyperct_pipeline.errors import ArchiveError
from hyperct_pipeline.study_workers import ONE_AT_A_TIME, Failure, WorkersConfig, run_studies

logger = logging.getLogger(__name__)

# Below this, starting processes costs more than it saves.
FILES_WORTH_A_POOL = 4000
FILES_PER_CHUNK = 250
REPORT_EVERY_S = 10.0

_JUNK_PROBLEMS = {
    "NOT_DICOM": "NOT_DICOM_FILES",
    "DICOMDIR": "NOT_DICOM_FILES",
    "UNREADABLE_FILE": "UNREADABLE_FILES",
}
_REMEDY = (
    "Either write the demonstration archive with `kedro run --pipeline=phantom`, "
    "or point to your own with `--params=dicom_root=PATH`."
)


@dataclass(frozen=True)
class LostFolder:
    """A folder whose images cannot be known. Its name may identify someone: the text form shows none."""

    name: str = field(repr=False)  # relative to the archive
    reason: str  # UNREADABLE_FOLDER or UNREADABLE_FILES


class ArchiveIndex:
    """Groups of an archive, sorted by study, series and group number; iterating reads one study at a time."""

    def __init__(self, archive: Path) -> None:
        self.archive = archive
        self.lost: list[LostFolder] = []
        self._spool = Spool()
        self._places: dict[str, array[int]] = defaultdict(lambda: array("Q"))  # by study
        self._junk: dict[str, set[str]] = defaultdict(set)  # folder -> problem codes
        self._readable: set[str] = set()  # folders with at least one header

    def __iter__(self) -> Iterator[SeriesGroup]:
        for study in sorted(self._places):
            headers = [self._spool.get(place) for place in self._places[study]]
            yield from group_headers(headers, self.archive, self._junk)

    def __bool__(self) -> bool:
        return bool(self._places)

    def add(self, path: str, result: Header | str) -> None:
        """One more file: its header, or why there is none."""
        if isinstance(result, Header):
            study, _ = identity_of(result, self.archive)
            self._places[study].append(self._spool.put(result))
            self._readable.add(result.folder)
            if result.is_incomplete:  # perhaps a slice of a series beside it, whose UID was cut off
                self._junk[result.folder].add("INCOMPLETE_FILES")
        else:
            self._junk[folder_of(path)].add(_JUNK_PROBLEMS[result])

    def finish(self, closed_folders: Iterable[str]) -> None:
        """All files are added; `closed_folders` could not be opened."""
        unreadable = {f for f, codes in self._junk.items() if "UNREADABLE_FILES" in codes} - self._readable
        self.lost = [
            LostFolder(relative_folder(folder, self.archive), reason)
            for reason, folders in (("UNREADABLE_FOLDER", closed_folders), ("UNREADABLE_FILES", unreadable))
            for folder in sorted(folders)
        ]


def index_series(archive: Path, workers: WorkersConfig = ONE_AT_A_TIME) -> ArchiveIndex:
    """Reads the header of every file of an archive.

    Raises:
        ArchiveError: the folder is not there, or holds no DICOM file.
    """
    if not archive.is_dir():
        raise ArchiveError(f"There is no DICOM archive at the given dicom_root. {_REMEDY}")
    index, closed = ArchiveIndex(archive), list[str]()
    counts: Counter[str] = Counter()
    start = latest = time.monotonic()
    for path, result in _read_all(walk(archive, closed), workers):
        counts["DICOM" if isinstance(result, Header) else result] += 1
        index.add(path, result)
        if (now := time.monotonic()) - latest > REPORT_EVERY_S:
            latest = now
            logger.info("index: %d files, %.0f per second", counts.total(), counts.total() / (now - start))
    index.finish(closed)
    n_dicom = counts.pop("DICOM", 0)
    logger.info("%d files: %d DICOM, passed over %s", n_dicom + counts.total(), n_dicom, dict(counts))
    if counts["UNREADABLE_FILE"] and not is_mounted(archive):
        raise ArchiveError("The DICOM archive can no longer be read: is the share still mounted?")
    if closed:
        logger.warning("%d folders of the archive cannot be opened; each is a refused study.", len(closed))
    if not index:
        raise ArchiveError(f"The DICOM archive holds {counts.total()} files, none of them DICOM. {_REMEDY}")
    return index


def read_headers(paths: list[str]) -> list[Header | str]:
    """Headers of some files, in their order."""
    return [read_header(path) for path in paths]


def _read_all(paths: Iterator[str], workers: WorkersConfig) -> Iterator[tuple[str, Header | str]]:
    first = list(islice(paths, FILES_WORTH_A_POOL))
    if len(first) < FILES_WORTH_A_POOL:
        yield from ((path, read_header(path)) for path in first)
        return
    for chunk, results in run_studies(read_headers, _chunks(chain(first, paths)), workers):
        if isinstance(results, Failure):  # one of the files, or the disk, took the process down or hung
            results = ["UNREADABLE_FILE"] * len(chunk)
        yield from zip(chunk, results, strict=True)


def _chunks(paths: Iterator[str]) -> Iterator[list[str]]:
    while chunk := list(islice(paths, FILES_PER_CHUNK)):
        yield chunk
