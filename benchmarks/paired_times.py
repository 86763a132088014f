"""Times of several functions that take turns, so that a busy machine slows all of them alike."""

import time
from collections.abc import Callable, Mapping
from statistics import median

import torch


class PairedTimes:
    """Seconds of each function in each round; one round before the first warms up.

    Args:
        functions: run in this order in each round.
        rounds: how often.
        device: that is waited for before and after each call.
    """

    def __init__(self, functions: Mapping[str, Callable[[], object]], rounds: int, device: torch.device) -> None:
        self.seconds: dict[str, list[float]] = {name: [] for name in functions}
        for function in functions.values():
            function()
        for _ in range(rounds):
            for name, function in functions.items():
                wait(device)
                started = time.perf_counter()
                function()
                wait(device)
                self.seconds[name].append(time.perf_counter() - started)

    def median(self, name: str) -> float:
        """Of the seconds of a function."""
        return median(self.seconds[name])

    def ratio(self, name: str, to: str) -> float:
        """Median over the rounds of the seconds of one function over those of another in the same round."""
        return median(a / b for a, b in zip(self.seconds[name], self.seconds[to], strict=True))


def wait(device: torch.device) -> None:
    """Until the device has done what it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
