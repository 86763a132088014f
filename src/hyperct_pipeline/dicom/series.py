"""From an archive of files to groups of images: one group per series, orientation, matrix and acquisition.

The walk is sorted, follows links without running in circles, and opens regular files only. A file that is no
DICOM or cannot be read is counted and named in the `problems` of the groups beside it; none stops the index.
"""

import logging
import multiprocessing
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from hyperct_pipeline.dicom.header import Header, read_header
from hyperct_pipeline.errors import ArchiveError

logger = logging.getLogger(__name__)

# Below this, starting processes costs more than it saves.
FILES_WORTH_A_POOL = 4000
FILES_PER_CHUNK = 500
SAME_PLACE_MM = 0.01
# Direction cosines of one stack differ by rounding only.
ORIENTATION_TOLERANCE = 5e-3

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
class SeriesGroup:
    """Images that may form one stack. Holds paths and identifiers: its text form shows none of them."""

    study_uid: str = field(repr=False)  # or, where blank, what stands in for it
    series_uid: str = field(repr=False)
    number: int  # of the group within its series
    headers: tuple[Header, ...]  # in order of path
    problems: tuple[str, ...] = ()  # codes, sorted

    def __repr__(self) -> str:
        return f"SeriesGroup(number={self.number}, {len(self.headers)} images, problems={self.problems})"


def index_series(archive: Path, n_workers: int = 1) -> list[SeriesGroup]:
    """All groups of an archive, sorted by study, series and group number.

    Raises:
        ArchiveError: the folder is not there, or holds no DICOM file.
    """
    if not archive.is_dir():
        raise ArchiveError(f"There is no DICOM archive at the given dicom_root. {_REMEDY}")
    paths = list(walk(archive))
    headers: list[Header] = []
    junk: dict[str, set[str]] = defaultdict(set)  # folder -> codes
    counts: Counter[str] = Counter()
    for path, result in zip(paths, _read_all(paths, n_workers), strict=True):
        if isinstance(result, Header):
            headers.append(result)
        else:
            counts[result] += 1
            junk[path.rpartition("/")[0]].add(_JUNK_PROBLEMS[result])
    logger.info("%d files: %d DICOM, passed over %s", len(paths), len(headers), dict(counts))
    if not headers:
        raise ArchiveError(f"The DICOM archive holds {len(paths)} files, none of them DICOM. {_REMEDY}")
    return group_headers(headers, archive, junk)


def walk(root: Path) -> Iterator[str]:
    """Paths of all regular files below a folder, sorted; every folder is entered once, however linked."""
    seen: set[tuple[int, int]] = set()
    waiting = [os.fspath(root)]
    while waiting:
        folder = waiting.pop()
        try:
            status = Path(folder).stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError:
            logger.warning("A folder of the archive cannot be opened and is left out.")
            continue
        yield from (entry.path for entry in entries if _is(entry, "file"))
        waiting.extend(entry.path for entry in reversed(entries) if _is(entry, "dir"))


def _is(entry: os.DirEntry[str], kind: str) -> bool:
    try:
        return entry.is_file() if kind == "file" else entry.is_dir()
    except OSError:  # a link that leads in circles
        return False


def _read_all(paths: Sequence[str], n_workers: int) -> Iterator[Header | str]:
    if n_workers == 1 or len(paths) < FILES_WORTH_A_POOL:
        yield from map(read_header, paths)
        return
    # spawn: a fork would copy locks held by the threads of the numerical libraries
    with ProcessPoolExecutor(n_workers, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(read_header, paths, chunksize=FILES_PER_CHUNK)


def group_headers(
    headers: Sequence[Header], archive: Path, junk: Mapping[str, set[str]] | None = None
) -> list[SeriesGroup]:
    """Sorts headers into groups.

    Args:
        headers: of all images.
        archive: what folders are named relative to, where they stand in for a blank UID.
        junk: problem codes of each folder's other files.
    """
    series: dict[tuple[str, str], list[Header]] = defaultdict(list)
    for header in headers:
        series[_identity(header, archive)].append(header)
    groups = []
    for (study, uid), members in sorted(series.items()):
        stacks = _stacks(sorted(members, key=lambda header: header.path))
        for number, (stack, problems) in enumerate(stacks):
            for header in stack:
                problems |= (junk or {}).get(header.folder, set())
            groups.append(SeriesGroup(study, uid, number, tuple(stack), tuple(sorted(problems))))
    return groups


def _identity(header: Header, archive: Path) -> tuple[str, str]:
    """Study and series of a file; its folder and frame of reference where the UID is blank."""
    folder = os.path.relpath(header.folder, archive)
    substitute = "\x1f".join((folder, header["FrameOfReferenceUID"]))
    study = header["StudyInstanceUID"] or substitute
    series = header["SeriesInstanceUID"] or "\x1f".join((substitute, header["SeriesNumber"]))
    return study, series


def _stacks(members: list[Header]) -> list[tuple[list[Header], set[str]]]:
    """The groups of one series in a fixed order, each with its problems."""
    orientations: list[tuple[float, ...]] = []
    parts: dict[tuple[bool, int, int, int], list[Header]] = defaultdict(list)
    for header in members:
        place = _orientation_index(header.vector("ImageOrientationPatient", 6), orientations)
        parts[header.is_localizer, place, header.count("Rows"), header.count("Columns")].append(header)
    stacks = []
    for key, part in sorted(parts.items()):
        problems = _series_problems(part[0], key, list(parts))
        acquisitions = _acquisitions(part)
        if len(acquisitions) > 1:
            problems.add("MULTIPLE_ACQUISITIONS")
        stacks += [(acquisition, set(problems)) for acquisition in acquisitions]
    return stacks


def _series_problems(
    first: Header, key: tuple[bool, int, int, int], all_keys: list[tuple[bool, int, int, int]]
) -> set[str]:
    localizer, orientation, _, _ = key
    problems = set()
    if not (first["StudyInstanceUID"] and first["SeriesInstanceUID"]):
        problems.add("MISSING_UID")
    if not localizer and any(other[0] for other in all_keys):
        problems.add("LOCALIZER_DROPPED")
    if not localizer and sum(1 for other in all_keys if other[:2] == (False, orientation)) > 1:
        problems.add("MATRIX_VARIES")
    return problems


def _orientation_index(cosines: tuple[float, ...] | None, known: list[tuple[float, ...]]) -> int:
    """Number of the orientation among those known, which it joins if new; -1 where there is none."""
    if cosines is None:
        return -1
    for index, other in enumerate(known):
        if all(abs(a - b) <= ORIENTATION_TOLERANCE for a, b in zip(cosines, other, strict=True)):
            return index
    known.append(cosines)
    return len(known) - 1


def _acquisitions(part: list[Header]) -> list[list[Header]]:
    """Split by AcquisitionNumber, but only where two acquisitions show the same place.

    Step-and-shoot scanners count every slice as an acquisition; those are one stack.
    """
    numbered: dict[str, list[Header]] = defaultdict(list)
    for header in part:
        numbered[header["AcquisitionNumber"]].append(header)
    places = [{_place(header) for header in members} for members in numbered.values()]
    if sum(map(len, places)) == len(set().union(*places)):
        return [part]
    return [members for _, members in sorted(numbered.items())]


def _place(header: Header) -> tuple[int, ...]:
    position = header.vector("ImagePositionPatient", 3) or ()
    return tuple(round(value / SAME_PLACE_MM) for value in position)
