"""Hands studies to study processes through Dask, a bounded number at a time, and brings back what became of each.

A Dask worker here is a thread that waits for its study process: the process is what crashes, not the worker. By
default the cluster lives in this process and talks to itself in memory; with a scheduler address the same calls go
to the workers of that cluster, which need this package and the same paths.
"""

# mypy: allow-untyped-calls
# (its annotations are only partial)

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, TypeVar

from hyperct_pipeline.errors import ConfigError
from hyperct_pipeline.study_workers.config import WorkersConfig
from hyperct_pipeline.study_workers.process import Failure, StudyProcess
from hyperct_pipeline.study_workers.run import Parcel, close_run, new_run, run_in_process
from hyperct_pipeline.study_workers.template import WORKER_CRASHED

if TYPE_CHECKING:
    from distributed import Client, Future

Item = TypeVar("Item")
Result = TypeVar("Result")

_LOOPBACK = "127.0.0.1"
_LOCAL_SETTINGS: dict[str, Any] = {
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.admin.low-level-log-length": 1,  # these logs would keep every study that was ever handed over
}
# Studies handed to each worker: one at work and one that waits, so that no process idles while the caller saves.
_IN_FLIGHT_PER_WORKER = 2


def run_studies(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    config: WorkersConfig,
    warm_modules: tuple[str, ...] = (),
) -> Iterator[tuple[Item, Result | Failure]]:
    """Runs `work` on every item in processes of their own; pairs come as they finish, in any order.

    Items are taken from the iterable only as workers get free, so memory does not grow with their number.

    Args:
        work: a function of an importable module, or a partial of one; what it returns should be small.
        items: picklable.
        config: how many at once, where, and what one may cost.
        warm_modules: what the work imports late, so that every study but the first finds it imported.

    Raises:
        ConfigError: the scheduler cannot be reached or has no workers.
    """
    modules = (_module_of(work), *warm_modules)
    if config.n_workers == 1 and config.scheduler_address is None:
        yield from _one_by_one(work, items, config, modules)
        return
    source = iter(items)
    first = list(islice(source, 1))
    if not first:  # a cluster costs half a second
        return
    items = chain(first, source)
    with _client(config) as client, _run(client) as run:
        yield from _through(client, partial(run_in_process, run, work, config=config, warm_modules=modules), items)


def _through(client: "Client", task: Callable[[Item], Any], items: Iterable[Item]) -> Iterator[tuple[Item, Any]]:
    """Items and their outcomes by way of Dask, a few per worker on the way at any time."""
    from distributed import as_completed

    room = sum(client.nthreads().values()) * _IN_FLIGHT_PER_WORKER
    source = iter(items)
    completed = as_completed(loop=client.loop)
    waiting: "dict[Future[Any], Item]" = {}
    while True:
        for item in islice(source, room - len(waiting)):
            future = client.submit(task, Parcel(item), pure=False)
            waiting[future] = item
            completed.add(future)
        if not waiting:
            return
        future = next(completed)
        yield waiting.pop(future), _outcome(future)


def _module_of(work: Callable[..., Any]) -> str:
    function = getattr(work, "func", work)  # of a partial
    return str(function.__module__)


def _one_by_one(
    work: Callable[[Item], Result], items: Iterable[Item], config: WorkersConfig, modules: tuple[str, ...]
) -> Iterator[tuple[Item, Result | Failure]]:
    process = StudyProcess()
    try:
        for item in items:
            yield item, process.run(work, item, config, modules)
    finally:
        process.close()


@contextmanager
def _client(config: WorkersConfig) -> Iterator["Client"]:
    """A client of the given scheduler, or of a cluster of threads that ends with the run."""
    import dask
    from distributed import Client, LocalCluster

    _silence()
    with ExitStack() as stack:
        if config.scheduler_address is not None:
            client = stack.enter_context(_connected(config.scheduler_address))
        else:
            stack.enter_context(dask.config.set(_LOCAL_SETTINGS))
            cluster = LocalCluster(
                n_workers=config.n_workers,
                threads_per_worker=1,
                processes=False,
                protocol="inproc",
                dashboard_address=f"{_LOOPBACK}:0",
                worker_dashboard_address=f"{_LOOPBACK}:0",
                memory_limit=0,
            )
            client = stack.enter_context(Client(stack.enter_context(cluster), set_as_default=False))
        yield client


def _silence() -> None:
    """Quiets Dask, which sets the levels of its loggers itself.

    They tell of every connection, and of a failed task its arguments; asyncio tells of a timer that Dask forgets when
    a cluster closes.
    """
    for name in ("asyncio", *logging.root.manager.loggerDict):
        if name.partition(".")[0] in ("asyncio", "distributed"):
            logging.getLogger(name).setLevel(logging.CRITICAL)


def _connected(address: str) -> "Client":
    from distributed import Client

    try:
        client = Client(address, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConfigError(f"No Dask scheduler answers at scheduler_address ({type(error).__name__}).") from None
    if not client.nthreads():
        client.close()
        raise ConfigError("The Dask scheduler at scheduler_address has no workers yet: start some and run again.")
    return client


@contextmanager
def _run(client: "Client") -> Iterator[str]:
    """Name of a run, whose processes end with it on every worker."""
    run = new_run()
    try:
        yield run
    finally:
        close_run(run)  # wakes the threads of a local cluster that wait for a study
        client.run(close_run, run)


def _outcome(future: "Future[Any]") -> Any:
    from distributed import KilledWorker

    if future.status == "finished":
        return future.result()
    if future.status == "error" and isinstance(future.exception(), KilledWorker):
        return Failure(WORKER_CRASHED, "its Dask worker died repeatedly")
    if future.status == "error":
        raise ConfigError(
            f"A Dask worker cannot run this version of the package ({type(future.exception()).__name__}): "
            "install it there as it is here."
        )
    raise ConfigError("The Dask scheduler went away; finished studies are kept, run again to go on.")
