"""Headers of a whole archive outside of memory: an unnamed temporary file that vanishes with the process.

Headers hold identifiers, so they never get a file that could be found or left behind; an archive of millions of
files needs 8 bytes of memory for each. TMPDIR says on which disk the file lies (about 2 kB per DICOM file).
"""

import os
import pickle
import tempfile
import threading
import weakref
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Content = TypeVar("Content")


class Spool:
    """Objects written one after the other, read back by their place; safe for several threads."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - open as long as the spool is
        weakref.finalize(self, self._file.close)
        self._end = 0
        self._lock = threading.Lock()

    def put(self, content: object) -> int:
        """Store an object; returns its place."""
        record = pickle.dumps(content, protocol=pickle.HIGHEST_PROTOCOL)
        record = len(record).to_bytes(8, "little") + record
        with self._lock:
            place = self._end
            # one call of the system per object: the file is unbuffered so that readers need no flush
            written = os.pwrite(self._file.fileno(), record, place)
            while written < len(record):
                written += os.pwrite(self._file.fileno(), record[written:], place + written)
            self._end += len(record)
        return place

    def get(self, place: int) -> Any:
        """The object stored at a place."""
        size = int.from_bytes(os.pread(self._file.fileno(), 8, place), "little")
        return pickle.loads(os.pread(self._file.fileno(), size, place + 8))


@dataclass(frozen=True)
class Spooled(Generic[Content]):
    """One object in a spool; a copy sent to another process carries the object itself."""

    spool: Spool
    place: int

    def get(self) -> Content:
        """The object."""
        content: Content = self.spool.get(self.place)
        return content

    def __reduce__(self) -> tuple[Any, ...]:
        return Held, (self.get(),)


@dataclass(frozen=True)
class Held(Generic[Content]):
    """An object in memory where a spooled one is expected."""

    content: Content

    def get(self) -> Content:
        """The object."""
        return self.content
