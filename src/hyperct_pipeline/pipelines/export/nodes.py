"""Adapters of the `export` pipeline."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hyperct_pipeline.training.settings import ExportConfig

if TYPE_CHECKING:
    from hyperct_pipeline.training.checkpoint import ModelPackage
    from hyperct_pipeline.training.task_files import TaskFiles
else:
    ModelPackage = TaskFiles = Any  # kedro starts without torch


def export_tasks(model_package: ModelPackage, config: ExportConfig) -> Iterator[dict[str, TaskFiles]]:
    """The files of each task, one at a time."""
    from hyperct_pipeline.training.task_files import task_files

    for task in config.tasks or model_package.tasks:
        yield {task: task_files(model_package, task, config)}
