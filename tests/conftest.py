"""Fixtures shared by all tests."""

import os
from pathlib import Path
from typing import Any

import pytest

# Two processes of tests on two cores: threads of numerical libraries would only fight over them.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Folder with real CT DICOM and golden tensors (`HYPERCT_TEST_DATA`, default `../shared/data`)."""
    root = Path(os.environ.get("HYPERCT_TEST_DATA", Path(__file__).parents[1] / ".." / "shared" / "data")).resolve()
    if not root.is_dir():
        pytest.skip("extra test data are not here: set HYPERCT_TEST_DATA to their folder")
    return root


# Tests of `chain` read what one clone has made; these take a fresh clone and leave it alone.
_OWN_CLONE = {"test_real_ct.py", "test_two_nodes.py"}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Under `--dist loadfile` one process runs all tests of the chain's clone, so that it is made once."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByClone(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::", 1)[0]
            is_shared = file.startswith("tests/chain/") and Path(file).name not in _OWN_CLONE
            return "tests/chain" if is_shared else file

    return ByClone(config, log)
