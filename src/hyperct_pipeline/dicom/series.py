"""From headers to groups of images that may form one stack: series, orientation, matrix and acquisition."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hyperct_pipeline.dicom.archive import relative_folder
from hyperct_pipeline.dicom.header import Header

SAME_PLACE_MM = 0.01
# Direction cosines of one stack differ by rounding only.
ORIENTATION_TOLERANCE = 5e-3


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
        series[identity_of(header, archive)].append(header)
    groups = []
    for (study, uid), members in sorted(series.items()):
        stacks = _stacks(sorted(members, key=lambda header: header.path))
        for number, (stack, problems) in enumerate(stacks):
            for header in stack:
                problems |= (junk or {}).get(header.folder, set())
            groups.append(SeriesGroup(study, uid, number, tuple(stack), tuple(sorted(problems))))
    return groups


def identity_of(header: Header, archive: Path) -> tuple[str, str]:
    """Study and series of a file; its folder and frame of reference where the UID is blank."""
    if header["StudyInstanceUID"] and header["SeriesInstanceUID"]:
        return header["StudyInstanceUID"], header["SeriesInstanceUID"]
    folder = relative_folder(header.folder, archive)
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
    if orientation >= 0 and any(other[1] < 0 for other in all_keys):
        problems.add("IMAGES_WITHOUT_GEOMETRY")
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
