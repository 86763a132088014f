"""The notebook runs from top to bottom on what the README's commands leave behind."""

import json
from typing import Any

import pytest

pytestmark = pytest.mark.slow


def test_the_notebook_runs(chain: Any) -> None:
    notebook = json.loads((chain.folder / "notebooks" / "explore_run.ipynb").read_text())
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    (chain.folder / "cells.py").write_text("\n".join(cells) + "\nprint('slices', len(stored.kept_slices))\n")
    assert "slices " in chain.run("python", "cells.py")
