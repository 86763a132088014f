"""What a report must say about its own making: when, with which code, and of which model every part is."""

import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hyperct_pipeline import __version__
from hyperct_pipeline.errors import PackageError

SOFTWARE_OF_NUMBERS = ("numpy", "scipy", "pandas", "scikit-learn", "kedro", "mlflow")  # what an assessment rests on
SOFTWARE = ("torch", "timm", "SimpleITK", "pydicom", *SOFTWARE_OF_NUMBERS)


@dataclass(frozen=True)
class RunFacts:
    """When and with what a page is made."""

    made_at: str
    version: str
    commit: str
    software: str


def run_facts(software: Sequence[str] = SOFTWARE) -> RunFacts:
    """Facts of this moment.

    Args:
        software: distributions whose versions are named.
    """
    return RunFacts(
        made_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=__version__,
        commit=commit_of(Path(__file__).parent),
        software=software_versions(software),
    )


def commit_of(folder: Path) -> str:
    """Short hash of the code's commit, marked where files were changed since; `unknown` outside a checkout.

    The folder must be tracked: a package that was installed below another project is not of that project's commit.
    """
    try:
        _git(folder, "ls-files", "--error-unmatch", ".")
        return _git(folder, "describe", "--always", "--dirty=, changed since", "--exclude=*") or "unknown"
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "--no-optional-locks", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout.strip()


def software_versions(software: Sequence[str]) -> str:
    """Versions of distributions, in one line."""
    parts = [f"{name} {version(name)}" for name in software]
    return ", ".join([f"Python {platform.python_version()}", *parts])


def refuse_mixed_models(parts: Mapping[str, str | None]) -> None:
    """A report whose parts are of different models is worth less than none.

    Args:
        parts: what the part is -> id of its model; None: the part names none.

    Raises:
        PackageError: two parts are of different models.
    """
    named = {part: model for part, model in parts.items() if model is not None}
    if len(set(named.values())) > 1:
        listed = ", ".join(f"{part} of {model}" for part, model in named.items())
        raise PackageError(
            f"the report's parts are of different models ({listed}); run `kedro run --pipeline=evaluate`, which makes "
            "all of them anew"
        )


def notices_of(
    parts: Mapping[str, str | None], description: Mapping[str, Any] | None, history_settings: str | None
) -> list[str]:
    """What a reader must know before trusting that all parts belong together."""
    notices = []
    if parts.get("assessment") is None:
        notices.append(
            "The predictions that were assessed name no model: they may be of another system than the model described "
            "here."
        )
    if description is None:
        notices.append("There is no model package beside this report, so its parts could not be checked against it.")
    elif history_settings is not None:
        trained = (description.get("training") or {}).get("settings")
        if trained is not None and trained != history_settings:
            notices.append(
                "The training history is of a training with other settings than that of the model: a training was "
                "begun after this model was made."
            )
    return notices
