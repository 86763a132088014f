"""One run at a time writes to a data_root: a second one is refused before its first node."""

import logging
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol

from hyperct_pipeline.errors import ConfigError
from hyperct_pipeline.hooks.training_node import node_rank
from hyperct_pipeline.hooks.unwritable_results import data_root_of

logger = logging.getLogger(__name__)

LOCK_NAME = ".lock"


class OneWriterHook:
    """Holds a lock file in the data_root for as long as the run lasts; the kernel frees it when the process dies."""

    def __init__(self) -> None:
        self._data_root: Path | None = None
        self._lock: FileLock | None = None

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Learn where this run writes."""
        self._data_root = data_root_of(context)

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, catalog: CatalogProtocol[Any, Any]) -> None:
        """Take the lock; a node of a training that is not node 0 writes nothing and needs none.

        Raises:
            ConfigError: another run has it, or nothing can be written there.
        """
        self._release()  # of a run in this process that was refused before its first node, as in a notebook
        if self._data_root is not None and node_rank(catalog) == 0:
            self._lock = locked(self._data_root)

    @hook_impl(trylast=True)
    def after_pipeline_run(self) -> None:
        """Let the next run in, where several follow each other in one process."""
        self._release()

    @hook_impl(trylast=True)
    def on_pipeline_error(self) -> None:
        """Likewise after a failure."""
        self._release()

    def _release(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()


def locked(data_root: Path) -> FileLock | None:
    """The lock of a folder, taken; None where its file system has no locks.

    Raises:
        ConfigError: another run holds it, or nothing can be written there.
    """
    try:
        data_root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(data_root / LOCK_NAME)
        lock.acquire(blocking=False)
    except Timeout:
        raise ConfigError(
            "Another run is writing to this data_root. Wait for its end, or name another folder with "
            "--params=data_root=PATH."
        ) from None
    except NotImplementedError:
        logger.warning("The file system of data_root has no locks: see to it that one run at a time writes there.")
        return None
    except OSError as error:
        raise ConfigError(
            f"data_root cannot be written ({error.strerror}); it must be a folder of your own: name one with "
            "--params=data_root=PATH."
        ) from None
    return lock
