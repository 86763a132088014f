"""A loss or a gradient that is NaN or infinite ends a training, with what it happened to."""

from collections.abc import Sequence

from hyperct_pipeline.errors import HyperctError
from hyperct_pipeline.training.steps import Step


class DivergenceError(HyperctError):
    """The loss or its gradient is NaN or infinite."""


def refuse_divergence(
    bad: int | None, epoch: int, steps: Sequence[Step], tasks: Sequence[str], keys: Sequence[str]
) -> None:
    """Raises DivergenceError naming epoch, step, tasks and studies.

    Args:
        bad: number in the epoch of the first step that was not finite; None: all were.
        steps: of the epoch.
        tasks: all tasks of the model.
        keys: pseudonyms of all training studies.
    """
    if bad is None:
        return
    studies = ", ".join(keys[number] for number in steps[bad].studies)
    named = ", ".join(sorted(tasks[number] for number in steps[bad].tasks))
    sound = "The checkpoint of the epoch before is sound" if epoch > 1 else "There is no checkpoint yet"
    raise DivergenceError(
        f"the loss or its gradient is not finite in epoch {epoch}, step {bad + 1}; tasks {named}; "
        f"studies {studies}. {sound}; lower fit.lr or fit.clip_norm"
    )
