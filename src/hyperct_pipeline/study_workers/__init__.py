"""Work on many studies, each in a process of its own that may crash, hang or eat memory without harm to the rest."""

from hyperct_pipeline.study_workers.config import ONE_AT_A_TIME, WorkersConfig
from hyperct_pipeline.study_workers.dispatch import run_studies
from hyperct_pipeline.study_workers.process import FAILURE_REMEDIES, Failure

__all__ = ["FAILURE_REMEDIES", "ONE_AT_A_TIME", "Failure", "WorkersConfig", "run_studies"]
