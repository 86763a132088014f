"""Parameter files that are no YAML, or say one thing twice: named with file, line and key instead of a traceback."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from kedro.config import AbstractConfigLoader
from omegaconf import OmegaConf

from hyperct_pipeline.errors import ConfigError

READ_ERRORS = (yaml.YAMLError, ValueError, OSError)


def read_parameters(loader: AbstractConfigLoader, folders: Sequence[Path]) -> Any:
    """The merged parameters.

    Args:
        loader: of the project.
        folders: the configuration folders it reads.

    Raises:
        ConfigError: listing every file that cannot be read, with the line and what is wrong there.
    """
    try:
        return loader["parameters"]
    except READ_ERRORS as error:
        problems = [p for folder in folders for f in sorted(folder.glob("**/parameters*.yml")) for p in _problem(f)]
        if not problems and "uplicate keys" in str(error):
            # one key in two files of a folder; the paths are shown from the project's folder on
            problems = [str(error).replace(f"{folders[0].parent.parent.as_posix()}/", "")]
        if not problems:
            raise
    listed = "\n".join(f"- {problem}" for problem in problems)
    raise ConfigError(f"The configuration has errors; no node was run.\n{listed}")


def _problem(file: Path) -> list[str]:
    name = file.relative_to(file.parents[2]).as_posix() if len(file.parents) > 2 else file.name
    try:
        OmegaConf.load(file)
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f", line {error.problem_mark.line + 1}"
        return [f"{name}{line}: {error.problem}; correct the YAML there"]
    except READ_ERRORS as error:
        return [f"{name}: cannot be read as YAML ({type(error).__name__})"]
    return []
