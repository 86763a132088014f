"""The crosswalk is written on request, and for its owner only."""

import stat
from pathlib import Path

import pandas as pd
import pytest
from kedro.io import DatasetError

from hyperct_pipeline.datasets import PrivateTable

TABLE = pd.DataFrame({"study_key": ["a"], "folder": ["/p/\udcff"]}, dtype=object)


def test_written_for_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "00_private" / "crosswalk.csv"
    dataset = PrivateTable(str(file), wanted=True)
    dataset.save(lambda: TABLE)
    assert file.read_bytes() == b"study_key,folder\na,/p/\xff\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    with pytest.raises(DatasetError, match="for people"):
        dataset.load()


def test_never_made_unless_wanted(tmp_path: Path) -> None:
    def make() -> pd.DataFrame:
        raise AssertionError("nobody asked")

    PrivateTable(str(tmp_path / "x" / "crosswalk.csv")).save(make)
    assert not (tmp_path / "x").exists()
