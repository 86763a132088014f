"""Names on the command line that do not exist, or cannot work here: one sentence with those that do."""

import difflib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import click
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines

from hyperct_pipeline.errors import ConfigError


class CommandNamesHook:
    """Looks at `--env`, `--pipelines` and `--runner` of `kedro run` before the configuration is read."""

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        """Refuse names that do not exist.

        Raises:
            ConfigError: naming the option and, of an environment or a pipeline, all names there are.
        """
        check_environment(context.env, Path(context.config_loader.conf_source))
        command = click.get_current_context(silent=True)
        check_command(command.params if command else {}, tuple(pipelines))


def check_environment(env: str | None, conf_source: Path) -> None:
    """Raises ConfigError where the configuration has no folder of this name."""
    if env and conf_source.is_dir() and not (conf_source / env).is_dir():
        known = sorted(folder.name for folder in conf_source.iterdir() if folder.is_dir() and folder.name != "base")
        raise ConfigError(_unknown("--env", "configuration environment", env, known))


def check_command(given: Mapping[str, Any], known: Collection[str]) -> None:
    """Raises ConfigError for options of `kedro run` that name no pipeline, or a runner that cannot work.

    Args:
        given: the command's options by name; empty where the run was not started from a command line.
        known: names of the pipelines.
    """
    asked: Iterable[str] = [given["pipeline"]] if given.get("pipeline") else given.get("pipelines") or ()
    for name in asked:
        if name not in known:
            raise ConfigError(_unknown("--pipelines", "pipeline", name, known))
    if str(given.get("runner") or "").endswith("ParallelRunner"):
        raise ConfigError(
            "--runner=ParallelRunner does not work here: its processes would neither share the checked inputs nor log "
            "to MLflow. Leave the option away, and work on several studies at once with "
            "--params=study_workers.n_workers=N."
        )


def _unknown(option: str, kind: str, name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return f"{option}: there is no {kind} '{name}'; there are {', '.join(known)}.{hint}"
