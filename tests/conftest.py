"""Fixtures shared by all tests."""

import os
from pathlib import Path

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
