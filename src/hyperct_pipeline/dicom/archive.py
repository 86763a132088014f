"""The files of an archive: a sorted walk that follows links without running in circles and opens nothing."""

import os
from collections.abc import Iterator
from pathlib import Path


def walk(root: Path, lost: list[str] | None = None) -> Iterator[str]:
    """Paths of all regular files below a folder, sorted; every folder is entered once, however linked.

    Args:
        root: where to begin.
        lost: takes the paths of folders that could not be opened.
    """
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
            if lost is not None:
                lost.append(folder)
            continue
        yield from (entry.path for entry in entries if _is(entry, "file"))
        waiting.extend(entry.path for entry in reversed(entries) if _is(entry, "dir"))


def is_mounted(root: Path) -> bool:
    """Whether a folder can be opened and holds something: a share that went away can or does not."""
    try:
        with os.scandir(root) as found:
            return next(found, None) is not None
    except OSError:
        return False


def folder_of(path: str) -> str:
    """Path of the folder a file lies in."""
    return path.rpartition("/")[0]


def relative_folder(folder: str, archive: Path) -> str:
    """Name of a folder within the archive as text that can be hashed, whatever bytes it is made of."""
    return os.fsencode(os.path.relpath(folder, archive)).decode("utf-8", errors="backslashreplace")


def _is(entry: os.DirEntry[str], kind: str) -> bool:
    try:
        return entry.is_file() if kind == "file" else entry.is_dir()
    except OSError:  # a link that leads in circles
        return False
