"""Studies that are due for a stage, and what became of each."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from hyperct_pipeline.study_workers import Failure, WorkersConfig, run_studies
from hyperct_pipeline.volumes.converted import NiftiFile

logger = logging.getLogger(__name__)

T = TypeVar("T")
Row = dict[str, Any]
Rows = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Due:
    """A study that is new or changed."""

    wanted: Row  # what its row has to say for itself to count as done
    file: NiftiFile | None

    @property
    def key(self) -> str:
        """Of the study."""
        return str(self.wanted["study_key"])


def outcomes(work: Callable[[Due], T], due: Sequence[Due], workers: WorkersConfig) -> Iterator[tuple[Due, T | Failure]]:
    """What the work gives for each study as it finishes; a study whose process failed is logged, too."""
    for study, outcome in run_studies(work, due, workers):
        if isinstance(outcome, Failure):
            logger.error("Study %s: %s %s", study.key, outcome.code, outcome.detail)
        yield study, outcome
