"""What happens around a `kedro run`: configuration check, input check, MLflow, readable failures."""

from hyperct_pipeline.hooks.command_names import CommandNamesHook
from hyperct_pipeline.hooks.configuration import ConfigurationHook
from hyperct_pipeline.hooks.failure_message import FailureMessageHook
from hyperct_pipeline.hooks.one_writer import OneWriterHook
from hyperct_pipeline.hooks.preflight import PreflightHook
from hyperct_pipeline.hooks.tracking import TrackingHook
from hyperct_pipeline.hooks.training_node import TrainingNodeHook

__all__ = [
    "CommandNamesHook",
    "ConfigurationHook",
    "FailureMessageHook",
    "OneWriterHook",
    "PreflightHook",
    "TrackingHook",
    "TrainingNodeHook",
]
