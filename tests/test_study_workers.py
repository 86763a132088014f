"""Whatever one study does to its process, the others get their results."""

import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from pydantic import ValidationError

from hyperct_pipeline.errors import ConfigError
from hyperct_pipeline.study_workers import Failure, WorkersConfig, run_studies
from hyperct_pipeline.study_workers import process as process_module
from hyperct_pipeline.study_workers.process import StudyProcess

WORK = """
import os, signal, sys, time
import numpy as np

def study(item, factor=1):
    print("CANARY"), print("CANARY", file=sys.stderr)
    if item == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if item == "exit":
        os._exit(3)
    if item == "hang":
        time.sleep(60)
    if item == "bomb":
        return np.ones(10**9).sum()
    if item == "fault":
        raise KeyError("CANARY")
    return item * factor

def pid_of_template(item):
    return os.getppid()

def cores_and_limits(item):
    import resource
    return resource.getrlimit(resource.RLIMIT_CORE)[0], os.environ["OMP_NUM_THREADS"]

def marked(item):
    with open(item, "w") as file:
        file.write(str(os.getpid()))
    time.sleep(60)
"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A module that study processes can import."""
    (tmp_path / "work_of_test.py").write_text(WORK)
    monkeypatch.syspath_prepend(tmp_path)
    import work_of_test

    return work_of_test


def one(**settings) -> WorkersConfig:
    return WorkersConfig(n_workers=1, **settings)


def two(**settings) -> WorkersConfig:
    return WorkersConfig(n_workers=2, **settings)


def is_running(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def wait_until(condition: Callable[[], bool], limit_s: float = 5.0) -> bool:
    end = time.monotonic() + limit_s
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


@pytest.mark.parametrize("config", [one(), two()])
def test_results_come_with_their_items(work, config: WorkersConfig) -> None:
    outcomes = dict(run_studies(partial(work.study, factor=3), range(5), config))
    assert outcomes == {0: 0, 1: 3, 2: 6, 3: 9, 4: 12}
    assert list(run_studies(work.study, [], config)) == []


@pytest.mark.parametrize(
    "config", [one(time_limit_s=2.0, memory_limit_gb=1.5), two(time_limit_s=2.0, memory_limit_gb=1.5)]
)
def test_each_way_to_fail_costs_one_study(work, config: WorkersConfig, capfd) -> None:
    items = ["segfault", 1, "exit", 2, "hang", 3, "bomb", 4, "fault", 5]
    outcomes = dict(run_studies(work.study, items, config))
    assert {key: value for key, value in outcomes.items() if isinstance(key, int)} == {i: i for i in range(1, 6)}
    assert outcomes["segfault"] == Failure("WORKER_CRASHED", "SIGSEGV")
    assert outcomes["exit"] == Failure("WORKER_CRASHED")
    assert outcomes["hang"] == Failure("TIME_LIMIT")
    assert outcomes["bomb"] == Failure("MEMORY_LIMIT")
    assert (outcomes["fault"].code, outcomes["fault"].detail) == ("UNEXPECTED_ERROR", "KeyError at work_of_test.py:16")
    assert "CANARY" not in "".join(capfd.readouterr()) + repr(outcomes["fault"])


@pytest.mark.parametrize("config", [one(), two()])
def test_a_killed_template_is_replaced(work, config: WorkersConfig) -> None:
    seen: set[int] = set()
    for _, pid in run_studies(work.pid_of_template, range(8), config):
        if isinstance(pid, int) and not seen:
            os.kill(pid, signal.SIGKILL)
        seen.add(pid)
    alive = {pid for pid in seen if isinstance(pid, int)}
    assert len(alive) >= 2


def test_a_started_process_serves_all_studies_of_a_worker(work) -> None:
    pids = {pid for _, pid in run_studies(work.pid_of_template, range(6), one())}
    assert len(pids) == 1 and pids != {os.getpid()}


def test_children_leave_no_core_dump_and_use_one_thread(work) -> None:
    ((_, found),) = run_studies(work.cores_and_limits, ["x"], one())
    assert found == (0, "1")


def test_items_are_taken_as_workers_get_free(work) -> None:
    taken = itertools.count()
    latest = 0

    def items() -> Iterator[int]:
        nonlocal latest
        for item in range(40):
            latest = next(taken)
            yield item

    for done, _ in enumerate(run_studies(work.study, items(), two())):
        assert latest <= done + 2 * 2


@pytest.mark.parametrize("config", [one(), two()])
def test_leaving_early_ends_the_children(work, config: WorkersConfig, tmp_path: Path) -> None:
    marks = [tmp_path / f"mark{number}" for number in range(4)]
    results = run_studies(partial(work.marked), map(str, marks), WorkersConfig(config.n_workers, None, 8.0, 1.0))
    next(results)
    results.close()
    children = [int(mark.read_text()) for mark in marks if mark.exists()]
    assert children
    assert wait_until(lambda: not any(map(is_running, children)))


def test_a_scheduler_that_is_not_there_is_one_error(work, monkeypatch: pytest.MonkeyPatch) -> None:
    import dask

    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        config = WorkersConfig(scheduler_address="tcp://127.0.0.1:9")
        with pytest.raises(ConfigError, match="No Dask scheduler answers"):
            list(run_studies(work.study, [1], config))


def test_a_given_scheduler_does_the_work(work) -> None:
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1,
        threads_per_worker=2,
        processes=False,
        protocol="tcp",
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
    ) as cluster:
        config = WorkersConfig(scheduler_address=cluster.scheduler_address)
        assert dict(run_studies(work.study, ["segfault", 1, 2], config))[2] == 2


@pytest.mark.parametrize("settings", [{"n_workers": 0}, {"memory_limit_gb": 0.0}, {"time_limit_s": -1.0}])
def test_settings_that_no_study_can_keep(settings) -> None:
    with pytest.raises(ValidationError):
        WorkersConfig(**settings)


def test_a_closed_process_starts_nothing_any_more(work, monkeypatch: pytest.MonkeyPatch) -> None:
    process, started = StudyProcess(), []
    start = process_module._start
    # the run ends while another thread is about to start its process
    monkeypatch.setattr(process_module, "_start", lambda: started.append(start()) or started[0])
    process.close()
    assert process.run(work.study, "a", one()) == Failure("WORKER_CRASHED", "template") and not started


def test_closing_waits_for_a_process_that_is_being_started(work, monkeypatch: pytest.MonkeyPatch) -> None:
    process, started, reached = StudyProcess(), [], threading.Event()
    start = process_module._start

    def slow_start() -> object:
        reached.set()
        time.sleep(0.3)
        started.append(start())
        return started[0]

    monkeypatch.setattr(process_module, "_start", slow_start)
    thread = threading.Thread(target=process.run, args=(work.study, "hang", one()))
    thread.start()
    assert reached.wait(5)
    process.close()
    thread.join(10)
    assert not thread.is_alive() and started[0].returncode is not None
