"""Pseudonyms: keyed hashes of identifiers, a keyed day number for dates, and the secret behind both.

A key is the first 20 characters (100 bits) of the lower-case base32 of HMAC-SHA256(secret, kind|value). The kind
keeps a patient and a study of the same text apart. Without the secret a key can neither be computed nor turned
back; with it, the same identifier gives the same key in every run, so tables join.
"""

import datetime
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hyperct_pipeline.atomic_file import replacing
from hyperct_pipeline.errors import SecretError

DEMO_SECRET = b"hyperct_pipeline: public demonstration secret, for phantom data only"
PHANTOM_MARKER = "PHANTOM.json"
MINIMUM_SECRET_BYTES = 32
KEY_LENGTH = 20
# About 2,900 years: a day number tells next to nothing about the date even when the decade is known.
DAY_SHIFT_RANGE = 2**20
# Ages above 89 identify (HIPAA Safe Harbor, 45 CFR 164.514(b)(2)(i)(C)): all of them become this.
OLDEST_AGE_YEARS = 90.0
_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS = [first + second for first in _BASE32 for second in _BASE32]
_KEY_BYTES = -(-5 * KEY_LENGTH // 8)
_SHIFTS = range(5 * KEY_LENGTH - 10, -1, -10)
_FIELD_SEPARATOR = "\x1f"


@dataclass(frozen=True)
class Pseudonyms:
    """Turns identifiers of the hospital into pseudonyms; its text form never shows the secret."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) < MINIMUM_SECRET_BYTES:
            raise SecretError(_too_short(len(self.secret)))

    @property
    def fingerprint(self) -> str:
        """Tells two secrets apart without revealing either."""
        return self._key("fingerprint", "hyperct_pipeline")

    def patient_key(self, patient_id: str, issuer: str = "") -> str:
        """Key of a PatientID: stripped, case-folded, leading zeros kept; the issuer counts where there is one.

        Raises:
            ValueError: the id is blank; all patients without an id would become one.
        """
        issuer_part = _normal(issuer) + _FIELD_SEPARATOR if issuer.strip() else ""
        return self._key("patient", issuer_part + _not_blank(patient_id, "patient id"))

    def study_key(self, study_instance_uid: str) -> str:
        """Key of a StudyInstanceUID (or of what stands in for it: a volume name, a folder)."""
        return self._key("study", _not_blank(study_instance_uid, "study identifier"))

    def series_key(self, series_instance_uid: str, group: int) -> str:
        """Key of one group of images within a SeriesInstanceUID."""
        uid = _not_blank(series_instance_uid, "series identifier")
        return self._key("series", f"{uid}{_FIELD_SEPARATOR}{group}")

    def accession_key(self, accession_number: str) -> str:
        """Key of an AccessionNumber, by which label tables join."""
        return self._key("accession", _not_blank(accession_number, "accession number"))

    def day(self, patient_key: str, date: datetime.date) -> int:
        """Days since an origin that only the secret knows; differences within one patient are true days."""
        digest = hmac.digest(self.secret, f"day|{patient_key}".encode(), hashlib.sha256)
        shift = int.from_bytes(digest[:8], "big") % DAY_SHIFT_RANGE
        return date.toordinal() - datetime.date(1900, 1, 1).toordinal() + shift

    def _key(self, kind: str, value: str) -> str:
        digest = hmac.digest(self.secret, f"{kind}|{value}".encode(), hashlib.sha256)
        # the library's base32 takes ten times as long as the hash, and tables hold a million ids
        bits = int.from_bytes(digest[:_KEY_BYTES], "big") >> (8 * _KEY_BYTES - 5 * KEY_LENGTH)
        return "".join([_PAIRS[bits >> shift & 1023] for shift in _SHIFTS])


def resolve_secret(environment_value: str | None, inputs: Sequence[Path]) -> Pseudonyms:
    """Pseudonyms under the given secret, or under the public demo secret where every input is a phantom.

    Args:
        environment_value: what the environment or the credentials hold; None or blank where nothing is set.
        inputs: folders or files with identifiers. Those that do not exist are passed over: they hold no
            identifier, and whoever reads them has the better message.

    Raises:
        SecretError: the secret is shorter than 32 bytes, or there is none and an input is not a phantom's.
    """
    if environment_value and environment_value.strip():
        return Pseudonyms(environment_value.strip().encode())
    foreign = sum(1 for path in inputs if path.exists() and not _is_phantom(path))
    if foreign:
        raise SecretError(
            f"No pseudonym secret is set, and {foreign} of {len(inputs)} inputs were not written by the "
            f"phantom pipeline (they carry no {PHANTOM_MARKER}). Set HYPERCT_SECRET to at least "
            f"{MINIMUM_SECRET_BYTES} random bytes, e.g. `export HYPERCT_SECRET=$(openssl rand -hex 32)`, and keep it: "
            "other secrets give other keys."
        )
    return Pseudonyms(DEMO_SECRET)


def check_fingerprint(file: Path, pseudonyms: Pseudonyms) -> None:
    """Notes the secret's fingerprint beside the data, or compares with the one noted there before.

    Raises:
        SecretError: the data were made under another secret.
    """
    if not file.exists():
        with replacing(file) as draft:
            draft.write_text(pseudonyms.fingerprint + "\n", encoding="ascii")
        return
    found = file.read_text(encoding="ascii", errors="replace").strip()
    if found != pseudonyms.fingerprint:
        raise SecretError(
            f"The data here were pseudonymised under another secret (fingerprint {found[:KEY_LENGTH]}, "
            f"now {pseudonyms.fingerprint}). Set HYPERCT_SECRET to the secret of that time, or choose "
            "another folder with `--params=data_root=PATH`: keys of two secrets never join."
        )


def _is_phantom(path: Path) -> bool:
    folder = path if path.is_dir() else path.parent
    candidates = (folder, *folder.absolute().parents[:2])
    return any((candidate / PHANTOM_MARKER).is_file() for candidate in candidates)


def _normal(value: str) -> str:
    # DICOM pads UIDs with NUL and text with blanks.
    return value.strip(" \t\r\n\0").casefold()


def _not_blank(value: str, what: str) -> str:
    normal = _normal(value)
    if not normal:
        raise ValueError(f"The {what} is blank: it names nobody, and a key of it would merge strangers.")
    return normal


def _too_short(found: int) -> str:
    return (
        f"The pseudonym secret has {found} bytes; at least {MINIMUM_SECRET_BYTES} are needed. "
        "`openssl rand -hex 32` makes one; set it as HYPERCT_SECRET."
    )
