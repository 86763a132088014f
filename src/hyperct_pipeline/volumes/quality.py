"""Does what was measured in a volume fit a chest CT? Limits in the parameters turn numbers into one verdict.

Numbers are measured once per volume and kept (`quality_checks`); judging them again under other limits takes seconds.
"""

import dataclasses
from collections.abc import Mapping

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from hyperct_pipeline.volumes.quality_checks import CHECKS

ACCEPT, WARN, REJECT = "accept", "warn", "reject"
WORST_FIRST = (REJECT, WARN, ACCEPT)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Limits:
    """What a check's number may be; null sets no limit. A number on the limit is still good."""

    reject_below: float | None = None
    warn_below: float | None = None
    warn_above: float | None = None
    reject_above: float | None = None

    def judge(self, value: float | None) -> tuple[str, str]:
        """Verdict, and what is wrong: LOW, HIGH, UNDEFINED (a warning) or blank."""
        if value is None:
            return WARN, "UNDEFINED"
        for verdict, low, high in (
            (REJECT, self.reject_below, self.reject_above),
            (WARN, self.warn_below, self.warn_above),
        ):
            if low is not None and value < low:
                return verdict, "LOW"
            if high is not None and value > high:
                return verdict, "HIGH"
        return ACCEPT, ""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class QualityConfig:
    """Limits by name of the check, and how the pages to look at are made."""

    limits: dict[str, Limits]
    montage_studies: int = 16  # most studies on the one figure for MLflow and Kedro-Viz, worst verdicts first
    page_studies: int = 500  # studies per HTML page

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.limits) - set(CHECKS)):
            raise ValueError(f"no such checks: {unknown}; there are {sorted(CHECKS)}")
        if min(self.montage_studies, self.page_studies) < 1:
            raise ValueError("montage_studies and page_studies must be 1 or more")


@dataclasses.dataclass(frozen=True)
class Judgement:
    """The verdict, and codes such as LOW_LUNG_SHARE for what is wrong."""

    verdict: str
    reasons: tuple[str, ...]


def judge(numbers: Mapping[str, float | None], limits: Mapping[str, Limits]) -> Judgement:
    """The worst verdict that any limit gives, and every reason."""
    verdicts, reasons = {ACCEPT}, []
    for name, limit in limits.items():
        verdict, wrong = limit.judge(numbers[name])
        verdicts.add(verdict)
        if wrong:
            reasons.append(f"{wrong}_{name.upper()}")
    return Judgement(next(verdict for verdict in WORST_FIRST if verdict in verdicts), tuple(reasons))
