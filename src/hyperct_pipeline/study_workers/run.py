"""The study processes of one run within one interpreter: lent to threads, and ended together."""

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from hyperct_pipeline.study_workers.config import WorkersConfig
from hyperct_pipeline.study_workers.process import Failure, StudyProcess
from hyperct_pipeline.study_workers.template import WORKER_CRASHED

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Parcel(Generic[Item]):
    """An item on its way; its text form shows nothing of it."""

    item: Item = field(repr=False)


@dataclass
class _Processes:
    all: list[StudyProcess] = field(default_factory=list)
    idle: list[StudyProcess] = field(default_factory=list)


_runs: dict[str, _Processes] = {}
_ended: set[str] = set()
_lock = threading.Lock()


def new_run() -> str:
    """A name that no other run has."""
    return uuid.uuid4().hex


def run_in_process(
    run: str,
    work: Callable[[Item], Result],
    parcel: Parcel[Item],
    config: WorkersConfig,
    warm_modules: tuple[str, ...],
) -> Result | Failure:
    """One study in an idle process of the run, or in a new one."""
    with _lock:
        if run in _ended:
            return Failure(WORKER_CRASHED, "the run has ended")
        processes = _runs.setdefault(run, _Processes())
        process = processes.idle.pop() if processes.idle else StudyProcess()
        if process not in processes.all:
            processes.all.append(process)
    outcome: Result | Failure = process.run(work, parcel.item, config, warm_modules)
    with _lock:
        processes.idle.append(process)
    return outcome


def close_run(run: str) -> None:
    """End all processes of a run, also those at work; studies of it that come later are not begun."""
    with _lock:
        _ended.add(run)
        processes = _runs.pop(run, _Processes())
    for process in processes.all:
        process.close()
