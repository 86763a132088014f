import base64
import datetime
import hashlib
import hmac
from pathlib import Path

import pytest

from hyperct_pipeline.errors import SecretError
from hyperct_pipeline.pseudonyms import (
    DEMO_SECRET,
    PHANTOM_MARKER,
    Pseudonyms,
    check_fingerprint,
    resolve_secret,
)

SECRET = b"0123456789abcdef0123456789abcdef"


def test_key_is_hmac_sha256_in_base32() -> None:
    expected = base64.b32encode(hmac.new(SECRET, b"study|1.2.3", hashlib.sha256).digest())
    assert Pseudonyms(SECRET).study_key("1.2.3\0") == expected.decode().lower()[:20]


def test_patient_id_ignores_case_and_margins_but_not_zeros_or_issuer() -> None:
    pseudonyms = Pseudonyms(SECRET)
    assert pseudonyms.patient_key(" Ab12 ") == pseudonyms.patient_key("ab12")
    distinct = [pseudonyms.patient_key(*id_) for id_ in (("12",), ("012",), ("12", "A"), ("12", "B"))]
    assert len(set(distinct)) == 4
    assert pseudonyms.patient_key("12", " ") == pseudonyms.patient_key("12")


def test_kinds_and_groups_never_meet() -> None:
    pseudonyms = Pseudonyms(SECRET)
    keys = {
        pseudonyms.patient_key("1"),
        pseudonyms.study_key("1"),
        pseudonyms.accession_key("1"),
        pseudonyms.series_key("1", 0),
        pseudonyms.series_key("1", 1),
        pseudonyms.fingerprint,
        Pseudonyms(DEMO_SECRET).study_key("1"),
    }
    assert len(keys) == 7


def test_blank_identifier_has_no_key() -> None:
    with pytest.raises(ValueError, match="patient id is blank"):
        Pseudonyms(SECRET).patient_key("  ")


def test_days_of_one_patient_differ_by_true_days_and_origins_differ() -> None:
    pseudonyms = Pseudonyms(SECRET)
    ct, echo = datetime.date(2024, 2, 28), datetime.date(2024, 3, 1)
    assert pseudonyms.day("a", echo) - pseudonyms.day("a", ct) == 2  # 2024 is a leap year
    assert pseudonyms.day("a", ct) != pseudonyms.day("b", ct)


def test_secret_is_not_shown_and_not_short() -> None:
    assert "0123" not in repr(Pseudonyms(SECRET))
    with pytest.raises(SecretError, match=r"has 31 bytes; at least 32 .*openssl"):
        Pseudonyms(SECRET[:31])


def test_without_a_secret_only_phantoms_are_read(tmp_path: Path) -> None:
    phantom, hospital = tmp_path / "phantom", tmp_path / "hospital"
    (phantom / "dicom" / "p").mkdir(parents=True)
    hospital.mkdir()
    (phantom / PHANTOM_MARKER).write_text("{}")
    (phantom / "labels.csv").write_text("")
    inputs = [phantom, phantom / "dicom", phantom / "dicom" / "p", phantom / "labels.csv", tmp_path / "absent"]
    assert resolve_secret(None, inputs).secret == DEMO_SECRET
    with pytest.raises(SecretError, match=r"1 of 2 inputs .*HYPERCT_SECRET") as caught:
        resolve_secret(" ", [phantom, hospital])
    assert str(tmp_path) not in str(caught.value)
    assert resolve_secret(SECRET.decode() + "\n", [hospital]).secret == SECRET


def test_marker_three_levels_up_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    (tmp_path / PHANTOM_MARKER).write_text("{}")
    with pytest.raises(SecretError):
        resolve_secret(None, [tmp_path / "a" / "b" / "c"])


def test_fingerprint_is_noted_once_and_then_compared(tmp_path: Path) -> None:
    file = tmp_path / "data" / "fingerprint"
    check_fingerprint(file, Pseudonyms(SECRET))
    check_fingerprint(file, Pseudonyms(SECRET))
    with pytest.raises(SecretError, match="another secret"):
        check_fingerprint(file, Pseudonyms(DEMO_SECRET))
    assert file.read_text().strip() == Pseudonyms(SECRET).fingerprint
