from pathlib import Path

import click
import pytest

from hyperct_pipeline.errors import ConfigError
from hyperct_pipeline.hooks import command_names
from hyperct_pipeline.hooks.command_names import CommandNamesHook, check_command, check_environment
from hyperct_pipeline.pipeline_registry import register_pipelines

CONF = Path(__file__).parents[2] / "conf"
KNOWN = tuple(register_pipelines())


class Context:
    """What the hook reads of Kedro's context."""

    env = None

    class config_loader:
        conf_source = CONF


@pytest.mark.parametrize("env", [None, "local", "paper", "base"])
def test_an_environment_that_is_there(env: str | None) -> None:
    check_environment(env, CONF)


def test_a_misspelt_environment_names_those_that_are_there() -> None:
    expected = (
        r"^--env: there is no configuration environment 'papr'; there are .*local.*paper.* Did you mean 'paper'\?$"
    )
    with pytest.raises(ConfigError, match=expected):
        check_environment("papr", CONF)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"pipeline": None, "pipelines": ""},
        {"pipeline": "train"},
        {"pipelines": ["convert", "quality"], "runner": "ThreadRunner"},
        {"pipelines": ["__default__"], "runner": None},
    ],
)
def test_names_that_are_there(given: dict[str, object]) -> None:
    check_command(given, KNOWN)


@pytest.mark.parametrize("given", [{"pipeline": "harmonise"}, {"pipelines": ["train", "harmonise"]}])
def test_a_misspelt_pipeline_names_those_that_are_there(given: dict[str, object]) -> None:
    expected = (
        r"^--pipelines: there is no pipeline 'harmonise'; there are phantom, .*export.* Did you mean 'harmonize'\?$"
    )
    with pytest.raises(ConfigError, match=expected):
        check_command(given, KNOWN)


def test_a_name_like_none_has_no_suggestion() -> None:
    with pytest.raises(ConfigError, match=r"evaluate, __default__\.$"):
        check_command({"pipeline": "xyz"}, KNOWN)


@pytest.mark.parametrize("runner", ["ParallelRunner", "kedro.runner.ParallelRunner"])
def test_the_parallel_runner_is_refused_with_what_to_take_instead(runner: str) -> None:
    with pytest.raises(ConfigError, match=r"ParallelRunner does not work.*study_workers\.n_workers=N"):
        check_command({"pipelines": ["harmonize"], "runner": runner}, KNOWN)


def test_the_hook_reads_the_options_of_the_running_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_names, "pipelines", dict.fromkeys(KNOWN))
    hook = CommandNamesHook()
    hook.after_context_created(Context())  # not started from a command line
    command = click.Command("run")
    with click.Context(command) as running, pytest.raises(ConfigError, match="no pipeline 'trian'"):
        running.params = {"pipeline": "trian"}
        hook.after_context_created(Context())
