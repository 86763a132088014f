"""Progress over many studies, in the log: how many, how fast, how long still, how many not usable so far."""

import datetime
import logging
import time
from dataclasses import dataclass, field

logger = logging.getLogger(__name__)


@dataclass
class Progress:
    """Counts studies of one stage and says so now and then, and at the end."""

    stage: str
    total: int
    every_s: float = 10.0
    done: int = 0
    unusable: int = 0
    _start: float = field(default_factory=time.monotonic)
    _last: float = field(default_factory=time.monotonic)

    def count(self, usable: bool) -> None:
        """One more study is finished."""
        self.done += 1
        self.unusable += not usable
        now = time.monotonic()
        if self.done == self.total or now - self._last >= self.every_s:
            self._last = now
            rate = self.done / max(now - self._start, 1e-3)
            left = datetime.timedelta(seconds=round((self.total - self.done) / rate))
            logger.info(
                "%s: %d of %d studies, %.1f per second, %s left, %d refused or failed",
                self.stage, self.done, self.total, rate, left, self.unusable,
            )  # fmt: skip
