import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hyperct_pipeline.dicom.decisions import Decisions, decisions_of
from hyperct_pipeline.dicom.index import index_series
from hyperct_pipeline.dicom.selection import select_series
from hyperct_pipeline.errors import ConfigError
from hyperct_pipeline.pseudonyms import DEMO_SECRET, Pseudonyms

PSEUDONYMS = Pseudonyms(DEMO_SECRET)
HU = np.zeros((8, 4, 6), dtype=np.int16)
NOTHING = pd.DataFrame()


def outcome(archive: Path, config, exclusions=NOTHING, overrides=NOTHING) -> dict[str, tuple[str, str]]:
    """Kernel -> status and reasons."""
    index, _ = select_series(index_series(archive), PSEUDONYMS, config, decisions_of(exclusions, overrides))
    return {kernel: (status, reasons) for kernel, status, reasons in index[["kernel", "status", "reason_codes"]].values}


@pytest.fixture
def archive(write_series, tmp_path: Path) -> Path:
    """One study: a soft and a lung series, and one with a gap."""
    write_series(HU, folder="soft", tags={"SeriesInstanceUID": "1.2.1"})
    write_series(HU, folder="lung", tags={"SeriesInstanceUID": "1.2.2", "ConvolutionKernel": "LUNG"})
    gap = [(0.0, 0.0, 2.5 * z) for z in (0, 1, 2, 3, 4, 5, 7, 8)]
    write_series(HU, folder="gap", positions=gap, tags={"SeriesInstanceUID": "1.2.3", "ConvolutionKernel": "BONE"})
    return tmp_path / "archive"


@pytest.mark.parametrize("name", [" 1.2.1 ", PSEUDONYMS.series_key("1.2.1", 0)])
def test_excluded_series_leaves_the_study_to_the_next(archive: Path, config, name: str) -> None:
    found = outcome(archive, config, exclusions=pd.DataFrame({"id": [name, ""]}))
    assert found == {
        "STANDARD": ("refused", "EXCLUDED"),
        "LUNG": ("selected", ""),
        "BONE": ("refused", "MISSING_SLICE"),
    }


def test_excluded_study(archive: Path, config) -> None:
    study = next(iter(index_series(archive))).study_uid
    for name in (study, PSEUDONYMS.study_key(study)):
        found = outcome(archive, config, exclusions=pd.DataFrame({"id": [name], "why": ["moved"]}))
        assert set(found.values()) == {("refused", "EXCLUDED")}


def test_override_goes_before_the_ranking(archive: Path, config) -> None:
    found = outcome(archive, config, overrides=pd.DataFrame({"series": ["1.2.2"]}))
    assert found["LUNG"] == ("selected", "") and found["STANDARD"] == ("not_selected", "OVERRIDDEN")


def test_override_goes_before_the_rules_with_a_warning(write_series, tmp_path: Path, config) -> None:
    write_series(HU, tags={"SeriesInstanceUID": "1.2.1", "BodyPartExamined": "HEAD"})
    decisions = decisions_of(NOTHING, pd.DataFrame({"series": ["1.2.1"]}))
    index, (chosen,) = select_series(index_series(tmp_path / "archive"), PSEUDONYMS, config, decisions)
    assert chosen.warnings == ("NOT_CHEST", "TAKEN_BY_PERSON") and index["problems"][0] == "NOT_CHEST;TAKEN_BY_PERSON"


def test_override_never_goes_before_the_gate(archive: Path, config) -> None:
    found = outcome(archive, config, overrides=pd.DataFrame({"series": ["1.2.3"]}))
    assert found == {
        "BONE": ("refused", "MISSING_SLICE"),
        "STANDARD": ("not_selected", "OVERRIDDEN"),
        "LUNG": ("not_selected", "OVERRIDDEN"),
    }


def test_unknown_ids_are_counted_never_named(archive: Path, config, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        outcome(archive, config, exclusions=pd.DataFrame({"id": ["1.2.1", "CANARY", "9.9"]}))
    assert "2 of 3 ids of the exclusion list name nothing in this archive." in caplog.text
    assert "CANARY" not in caplog.text and "CANARY" not in repr(Decisions(frozenset({"CANARY"})))


def test_table_without_its_column(config) -> None:
    with pytest.raises(ConfigError, match="'overrides' has no column 'series'") as caught:
        decisions_of(NOTHING, pd.DataFrame({"CANARY": ["1"]}))
    assert "CANARY" not in str(caught.value)
