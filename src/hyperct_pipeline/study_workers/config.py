"""How many studies are worked on at once, where, and what one of them may cost."""

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class WorkersConfig:
    """Processes for per-study work. None of this changes a result.

    Raises:
        ValueError: no process, or a limit that no study can keep.
    """

    n_workers: int = 1  # processes on this machine; ignored where a scheduler is given
    scheduler_address: str | None = None  # of a running Dask scheduler, e.g. tcp://10.0.0.5:8786
    memory_limit_gb: float = 8.0  # GB (1e9 bytes) one study may take
    time_limit_s: float = 900.0  # seconds one study may take

    def __post_init__(self) -> None:
        if self.n_workers < 1:
            raise ValueError(f"n_workers is {self.n_workers}; at least one process works")
        if min(self.memory_limit_gb, self.time_limit_s) <= 0:
            raise ValueError("memory_limit_gb and time_limit_s must be positive: no study can do with nothing")


ONE_AT_A_TIME = WorkersConfig()
