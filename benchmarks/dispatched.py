"""What torch dispatches: how many operations, and which of them wait for the device."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

WAITING = ("_local_scalar_dense", "nonzero", "_unique2", "masked_select")


class Operations(TorchDispatchMode):
    """Counts what is dispatched."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[function._schema.name.split("::")[1]] += 1
        return function(*args, **(kwargs or {}))


def operations(function: Callable[[], None]) -> Counter[str]:
    """What is dispatched, after a first call."""
    function()
    with Operations() as seen:
        function()
    return seen.counts
