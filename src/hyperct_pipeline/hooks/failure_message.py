"""A user's mistake ends in one readable message, not in a page of traceback."""

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl

from hyperct_pipeline.errors import HyperctError
from hyperct_pipeline.hooks.unwritable_results import data_root_of, unwritable_results

logger = logging.getLogger(__name__)


class FailureMessageHook:
    """Prints the message of our own errors alone; other errors keep their traceback."""

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        """Put our reporter before the one that is installed."""
        install(lambda: data_root_of(context))


def install(data_root: Callable[[], Path]) -> None:
    """Report `HyperctError`, also where another error was raised from it, as one message on stderr.

    Likewise what the operating system says against writing results. Set the log level of `hyperct_pipeline` to DEBUG
    to see the traceback.

    Args:
        data_root: tells the folder of the results; asked when an error of the operating system is reported.
    """
    previous = getattr(sys.excepthook, "before_ours", sys.excepthook)  # a second session replaces the first's

    def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        ours = root_cause(error) or (unwritable_results(error, data_root()) if _from_system(error) else None)
        if ours is None or logger.isEnabledFor(logging.DEBUG):
            previous(kind, error, trace)
            return
        sys.stderr.write(f"\nError: {ours}\n")

    report.before_ours = previous  # type: ignore[attr-defined]
    sys.excepthook = report


def _from_system(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__
    return error is not None


def root_cause(error: BaseException | None) -> HyperctError | None:
    """The first of our own errors in the chain of causes, or None.

    Only what was raised `from` it counts: an error that merely happened while ours was handled is a fault of the
    program, and keeps its traceback.
    """
    while error is not None:
        if isinstance(error, HyperctError):
            return error
        error = error.__cause__
    return None
