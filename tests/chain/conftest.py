"""A fresh clone in which the commands of the README have run, on a smaller synthetic archive."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
# conf/local is the environment of a plain `kedro run`, so the README's commands run as they are typed
SMALLER = """
phantom: {n_development: 44, n_internal_test: 12, n_external_test: 10, n_prospective_a: 10, n_prospective_b: 10}
fit: {epochs: 2}
explain: {n_slices: 4}
"""


@dataclass(frozen=True)
class Clone:
    """A clone of the repository and the environment its commands run in."""

    folder: Path
    environment: dict[str, str]
    printed: list[str] = field(default_factory=list)  # by all commands so far

    def run(self, *command: str, expect: int = 0, **environment: str) -> str:
        """Run a command in the clone, with more environment if given, and return what it printed."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment | environment,
            text=True,
            capture_output=True,
            check=False,
            timeout=1500,
        )
        printed = done.stdout + done.stderr
        self.printed.append(printed)
        assert done.returncode == expect, f"{' '.join(command)} exited {done.returncode}:\n{printed[-6000:]}"
        return printed

    @property
    def data(self) -> Path:
        return self.folder / "data"


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """The committed files and the tracked changes on top, in an empty folder; nothing untracked comes along."""
    folder = tmp_path_factory.mktemp("clone") / "hyperct_pipeline"
    subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(folder)], check=True)
    changes = subprocess.run(
        ["git", "-C", str(REPOSITORY), "diff", "HEAD", "--binary"], check=True, capture_output=True
    )
    if changes.stdout:
        subprocess.run(["git", "-C", str(folder), "apply"], input=changes.stdout, check=True)
    (folder / "conf" / "local" / "parameters_smaller.yml").write_text(SMALLER)
    ours = ("HYPERCT_", "MLFLOW_", "KEDRO_", "DO_NOT_TRACK", "OMP_NUM_THREADS")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    # wide, so that log lines are not folded in the middle of what a test looks for
    return Clone(folder, kept | {"PATH": path, "PYTHONPATH": str(folder / "src"), "COLUMNS": "200"})


@pytest.fixture(scope="session")
def chain(clone: Clone) -> Clone:
    """The clone after the commands of the README's table that make and use one model, in its order."""
    readme = (clone.folder / "README.md").read_text()
    commands = re.findall(r"^\| `(kedro run[^`]*)` \|", readme, flags=re.MULTILINE)
    assert [command.split("=")[1].split()[0] for command in commands if "=" in command] == [
        "phantom",
        "train",
        "evaluate",
        "infer",
        "compare",
        "extend",
        "export",
    ]
    for command in commands:
        if command == "kedro run" or "=compare" in command or "=extend" in command or "=export" in command:
            continue  # train, then evaluate: the two before it; the others have their tests beside their nodes
        clone.run(*command.replace("PATH", "data/01_raw/phantom/dicom").split())
    return clone
