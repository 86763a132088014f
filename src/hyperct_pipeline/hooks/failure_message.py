"""A user's mistake ends in one readable message, not in a page of traceback."""

import logging
import sys
from types import TracebackType

from kedro.framework.hooks import hook_impl

from hyperct_pipeline.errors import HyperctError

logger = logging.getLogger(__name__)


class FailureMessageHook:
    """Prints the message of our own errors alone; other errors keep their traceback."""

    @hook_impl(tryfirst=True)
    def after_context_created(self) -> None:
        """Put our reporter before the one that is installed."""
        install()


def install() -> None:
    """Report `HyperctError`, also where another error was raised from it, as one message on stderr.

    Set the log level of `hyperct_pipeline` to DEBUG to see the traceback.
    """
    previous = sys.excepthook
    if getattr(previous, "reports_hyperct_errors", False):
        return

    def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        ours = root_cause(error)
        if ours is None or logger.isEnabledFor(logging.DEBUG):
            previous(kind, error, trace)
            return
        sys.stderr.write(f"\nError: {ours}\n")

    report.reports_hyperct_errors = True  # type: ignore[attr-defined]
    sys.excepthook = report


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
