"""A study process as its caller sees it: give it a study, get a result or a failure, whatever happens inside."""

import contextlib
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cloudpickle

from hyperct_pipeline.study_workers import template
from hyperct_pipeline.study_workers.config import WorkersConfig

# Studies run side by side; threads of numerical libraries within one only fight over the same cores.
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"), "1"
)
BYTES_PER_GB = 1e9
# Codes of studies that gave no result, and what a person can do about it.
FAILURE_REMEDIES = {
    template.WORKER_CRASHED: "The study took its process down; it is tried again next time.",
    template.MEMORY_LIMIT: "The study needs more than study_workers.memory_limit_gb; raise it if the study is sound.",
    template.TIME_LIMIT: "The study took longer than study_workers.time_limit_s; check the disk or raise it.",
    template.UNEXPECTED_ERROR: "A fault of the program; please report it with the line that stands in the log.",
}


@dataclass(frozen=True)
class Failure:
    """A study that gave no result.

    Attributes:
        code: WORKER_CRASHED, MEMORY_LIMIT, TIME_LIMIT or UNEXPECTED_ERROR.
        detail: the signal, or type and line of the error; holds no value of the study.
    """

    code: str
    detail: str = ""


class StudyProcess:
    """One template process; it starts at the first study and again whenever it was killed."""

    def __init__(self) -> None:
        self._process: "subprocess.Popen[bytes] | None" = None
        self._ended = False
        self._starting = threading.Lock()

    def run(
        self, work: Callable[[Any], Any], item: Any, config: WorkersConfig, warm_modules: tuple[str, ...] = ()
    ) -> Any:
        """What `work(item)` returned, or a `Failure`. Call it from one thread at a time."""
        job = template.Job(
            call=cloudpickle.dumps((work, item)),
            warm_modules=warm_modules,
            memory_limit_bytes=int(config.memory_limit_gb * BYTES_PER_GB),
            time_limit_s=config.time_limit_s,
        )
        answer = self._ask(job)
        if not isinstance(answer, template.Answer):
            self._close()
            return Failure(template.WORKER_CRASHED, "template")
        return pickle.loads(answer.result) if answer.code == template.OK else Failure(answer.code, answer.detail)

    def close(self) -> None:
        """End the process and whatever it works on, for good.

        A `run` that another thread waits for, or begins later, returns a failure.
        """
        with self._starting:  # otherwise a process that is just being started would outlive this
            self._ended = True
        self._close()

    def _close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            with contextlib.suppress(BrokenPipeError), process:
                pass  # closes the pipes and waits

    def _ask(self, job: template.Job) -> object | None:
        process = self._started()
        if process is None:
            return None
        assert process.stdin is not None and process.stdout is not None
        try:
            template.write_message(process.stdin, job)
            return template.read_message(process.stdout)
        except (BrokenPipeError, ValueError):  # it was killed between two studies, or closed meanwhile
            return None

    def _started(self) -> "subprocess.Popen[bytes] | None":
        """The process, a new one where there is none any more; None after the end."""
        with self._starting:
            if self._process is not None and self._process.poll() is not None:
                self._close()
            if self._process is None and not self._ended:
                self._process = _start()
            return self._process


def _start() -> "subprocess.Popen[bytes]":
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)  # noqa: PTH109 - text is wanted
    return subprocess.Popen(
        [sys.executable, "-P", "-m", template.__name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | _ONE_THREAD | {"PYTHONPATH": paths},
        start_new_session=True,  # Ctrl-C is for the caller, who then closes this one
    )
