"""The program of a study process: it imports what the work needs once, then forks a child for every study.

A fork of a warm, single-threaded process costs milliseconds; a new interpreter costs seconds, and a fork of the
caller would copy locks that its threads hold. Messages on both pipes: length as 8 bytes, then a pickle.
Nothing that a child prints is kept: third-party codecs print header values.
"""

import contextlib
import ctypes
import gc
import importlib
import os
import pickle
import resource
import select
import signal
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, NoReturn

OK, MEMORY_LIMIT, TIME_LIMIT = "OK", "MEMORY_LIMIT", "TIME_LIMIT"
WORKER_CRASHED, UNEXPECTED_ERROR = "WORKER_CRASHED", "UNEXPECTED_ERROR"
_PACKAGE = Path(__file__).parents[1].as_posix()
_PR_SET_PDEATHSIG = 1
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Job:
    """One study. `call` is the pickle of (work, item)."""

    call: bytes
    warm_modules: tuple[str, ...]  # imported before the fork, so that every later study finds them there
    memory_limit_bytes: int
    time_limit_s: float


@dataclass(frozen=True)
class Answer:
    """What became of a study: code OK and the pickle of the result, or the code of a failure and where it arose."""

    code: str
    result: bytes = b""
    detail: str = ""


def write_message(stream: IO[bytes], message: object) -> None:
    """Send one object."""
    content = pickle.dumps(message)
    stream.write(len(content).to_bytes(8, "little") + content)
    stream.flush()


def read_message(stream: IO[bytes]) -> object | None:
    """Receive one object, None where the other side is gone."""
    head = stream.read(8)
    size = int.from_bytes(head, "little")
    content = stream.read(size) if len(head) == 8 else b""
    return pickle.loads(content) if content and len(content) == size else None


def main() -> None:
    """Serve studies from stdin until the caller closes it."""
    requests, answers = os.fdopen(0, "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what third parties print must not end up between the answers
    while isinstance(job := read_message(requests), Job):
        for module in job.warm_modules:
            with contextlib.suppress(ImportError):  # the child meets it again and reports it
                importlib.import_module(module)
        gc.freeze()  # otherwise the first collection in a child copies every page of the template
        answer = _in_child(job)
        if answer is None:
            return
        write_message(answers, answer)


def _in_child(job: Job) -> Answer | None:
    """Fork, wait, and say what became of it; None where the caller went away."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _child(job, writer)
    os.close(writer)
    try:
        content, ended_by = _collect(reader, time.monotonic() + job.time_limit_s)
    finally:
        os.close(reader)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    if ended_by == "caller":
        return None
    if ended_by == "time":
        return Answer(TIME_LIMIT)
    return _answer(content, status)


def _collect(reader: int, deadline: float) -> tuple[bytes, str]:
    """All a child writes, and what ended it: the child itself, the time or the caller."""
    parts: list[bytes] = []
    while (left := deadline - time.monotonic()) > 0:
        ready, _, _ = select.select([reader, 0], [], [], left)
        if 0 in ready:  # the caller sends nothing while it waits, so this is the end of it
            return b"", "caller"
        if reader in ready:
            part = os.read(reader, _CHUNK_BYTES)
            if not part:
                return b"".join(parts), "child"
            parts.append(part)
    return b"", "time"


def _answer(content: bytes, status: int) -> Answer:
    try:
        answer = pickle.loads(content)
    except (EOFError, pickle.UnpicklingError):  # it died before or while it wrote
        answer = None
    if isinstance(answer, Answer):
        return answer
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    return Answer(WORKER_CRASHED, detail=signal.Signals(number).name if number else "")


def _child(job: Job, writer: int) -> NoReturn:
    """Runs one study; never returns."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # a killed template takes its child along
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold the patient
        _limit_memory(job.memory_limit_bytes)
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(pickle.dumps(_run(job)))
    finally:
        os._exit(0)


def _limit_memory(limit_bytes: int) -> None:
    # RLIMIT_DATA counts what is private and written to; RLIMIT_AS would also count mapped libraries and files
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = limit_bytes if hard == resource.RLIM_INFINITY else min(limit_bytes, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def _run(job: Job) -> Answer:
    try:
        work, item = pickle.loads(job.call)
        return Answer(OK, pickle.dumps(work(item)))
    except MemoryError:
        return Answer(MEMORY_LIMIT)
    except BaseException as error:  # noqa: BLE001 - a fault of ours costs one study too; its place is reported
        return Answer(UNEXPECTED_ERROR, detail=f"{type(error).__name__} at {_place(error.__traceback__)}")


def _place(trace: TracebackType | None) -> str:
    """File and line of ours where an error arose; its text may quote a header and is left out."""
    frames = [frame for frame in traceback.extract_tb(trace) if frame.filename != __file__]
    ours = [frame for frame in frames if frame.filename.startswith(_PACKAGE)] or frames
    return f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "an unknown line"


if __name__ == "__main__":
    # pickles name the module as it is imported, not as __main__
    from hyperct_pipeline.study_workers import template

    template.main()
