"""Work on many studies, each in a process of its own that may crash, hang or eat memory without harm to the rest."""

from hyperct_pipeline.study_workers.config import WorkersConfig
from hyperct_pipeline.study_workers.dispatch import run_studies
from hyperct_pipeline.study_workers.process import Failure

__all__ = ["Failure", "WorkersConfig", "run_studies"]
