"""Our own errors end in their message alone."""

import errno
import sys
from pathlib import Path

import pytest

from hyperct_pipeline.errors import ArchiveError
from hyperct_pipeline.hooks import failure_message


def test_the_first_of_our_errors_in_the_chain_is_found() -> None:
    try:
        try:
            raise ArchiveError("no archive")
        except ArchiveError as inner:
            raise RuntimeError("wrapped") from inner
    except RuntimeError as outer:
        assert str(failure_message.root_cause(outer)) == "no archive"
    assert failure_message.root_cause(KeyError("x")) is None


def test_a_fault_while_handling_ours_keeps_its_traceback() -> None:
    try:
        try:
            raise ArchiveError("no archive")
        except ArchiveError:
            {}["typo"]
    except KeyError as fault:
        assert failure_message.root_cause(fault) is None


def test_only_our_errors_lose_their_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    passed_on: list[BaseException] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: passed_on.append(error))
    failure_message.install(lambda: Path("earlier"))
    failure_message.install(lambda: tmp_path)  # a second session in one process must not stack reporters
    sys.excepthook(ArchiveError, ArchiveError("no archive"), None)
    sys.excepthook(KeyError, KeyError("x"), None)
    sys.excepthook(PermissionError, PermissionError(errno.EACCES, "no", "/elsewhere"), None)
    assert capsys.readouterr().err == "\nError: no archive\n"
    assert [type(error) for error in passed_on] == [KeyError, PermissionError]
    sys.excepthook(PermissionError, PermissionError(errno.EACCES, "no", str(tmp_path / "table")), None)
    assert capsys.readouterr().err.startswith("\nError: Results cannot be written under data_root (no).")
    assert len(passed_on) == 2
