"""Writing a file or a folder so that a kill at any moment leaves the old file or the new one, never half of either."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_DRAFT = ".tmp-"


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Give a temporary path beside `target`; on success sync it and rename it over `target`.

    The temporary name keeps the suffixes of `target`, because writers choose their format by them.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f"{_DRAFT}{os.getpid()}-{target.name}")
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def remove_abandoned(folder: Path, older_than_s: float) -> None:
    """Removes drafts that killed processes left; one that is being written is younger than a study may take."""
    for draft in folder.glob(f"{_DRAFT}*"):
        if time.time() - draft.stat().st_mtime > older_than_s:
            draft.unlink(missing_ok=True)


@contextmanager
def replacing_folder(target: Path) -> Iterator[Path]:
    """Give a draft folder beside `target`; on success sync its files and let it take the place of `target`.

    Between the two renames of a replacement there is a moment without `target`, but never one with half of it.
    """
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    old = target.with_name(f".{target.name}.{os.getpid()}.old")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        yield draft
        usual_mode = draft.stat().st_mode & 0o666
        for file in draft.iterdir():
            file.chmod(usual_mode)  # safetensors makes files that only their owner can read
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
        if target.exists():
            target.rename(old)
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
