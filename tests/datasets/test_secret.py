"""The secret must belong to the data."""

from pathlib import Path

import pytest
from kedro.io import DatasetError

from hyperct_pipeline.datasets import PseudonymSecret
from hyperct_pipeline.pseudonyms import PHANTOM_MARKER, Pseudonyms


def test_every_input_is_asked_for_its_marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HYPERCT_SECRET", raising=False)
    (tmp_path / "phantom" / "labels").mkdir(parents=True)
    (tmp_path / "phantom" / PHANTOM_MARKER).write_text("{}")
    for file in ("phantom/labels/ct_rate.csv", "own.csv"):
        (tmp_path / file).write_text("id\n7\n")
    fingerprint = {"path": str(tmp_path / "fingerprint.json")}
    archive, table = {"path": str(tmp_path / "phantom")}, {"path": str(tmp_path / "phantom/labels/ct_rate.csv")}
    assert PseudonymSecret(fingerprint, {"archive": archive, "ct_rate": table}).load()
    given = {"valley": str(tmp_path / "own.csv"), "ct_rate": None}
    with pytest.raises(DatasetError, match="1 of 2 inputs were not written by the phantom"):
        PseudonymSecret(fingerprint, {"archive": archive}, given).load()
    with pytest.raises(DatasetError, match="1 of 2 inputs were not written by the phantom"):
        PseudonymSecret(fingerprint, {"archive": archive, "ct_rate": {"path": str(tmp_path / "own.csv")}}).load()


def secret_of(folder: Path) -> PseudonymSecret:
    return PseudonymSecret({"path": str(folder / "fingerprint.json")}, {"archive": {"path": str(folder / "archive")}})


def test_the_environment_gives_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERCT_SECRET", "s" * 32)
    assert secret_of(tmp_path).load().patient_key("7") == Pseudonyms(b"s" * 32).patient_key("7")


def test_another_secret_for_the_same_data_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERCT_SECRET", "s" * 32)
    secret_of(tmp_path).load()
    monkeypatch.setenv("HYPERCT_SECRET", "t" * 32)
    with pytest.raises(DatasetError, match="HYPERCT_SECRET"):
        secret_of(tmp_path).load()


def test_without_a_secret_only_the_phantom_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HYPERCT_SECRET", raising=False)
    (tmp_path / "archive").mkdir()
    with pytest.raises(DatasetError, match="HYPERCT_SECRET"):
        secret_of(tmp_path).load()
    (tmp_path / "archive" / PHANTOM_MARKER).write_text("{}")
    assert len(secret_of(tmp_path).load().patient_key("7")) == 20
