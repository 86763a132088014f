"""The secret behind all pseudonyms, checked against the data it was used for."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError

from hyperct_pipeline.pseudonyms import Pseudonyms, check_fingerprint, resolve_secret

SECRET_VARIABLE = "HYPERCT_SECRET"


class PseudonymSecret(AbstractDataset[None, Pseudonyms]):
    """Gives nodes the keyed hash; the secret itself is read from `HYPERCT_SECRET` and never stored.

    Args:
        fingerprint: {"path": file beside the data that remembers which secret made it}.
        inputs: the raw inputs; without a secret each of those that exist must carry the phantom's marker.
        given: source name -> label table, what the run was given; inputs as well.
    """

    def __init__(
        self,
        fingerprint: Mapping[str, str],
        inputs: Mapping[str, Mapping[str, str | None]],
        given: Mapping[str, str | None] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._fingerprint = Path(fingerprint["path"])
        named = [entry["path"] for entry in inputs.values()] + list((given or {}).values())
        self._inputs = [Path(path) for path in dict.fromkeys(named) if path]
        self.metadata = metadata

    def load(self) -> Pseudonyms:
        """The keyed hash.

        Raises:
            SecretError: no secret although the data are not the phantom's, or not the secret of this data root.
        """
        pseudonyms = resolve_secret(os.environ.get(SECRET_VARIABLE), self._inputs)
        check_fingerprint(self._fingerprint, pseudonyms)
        return pseudonyms

    def save(self, data: None) -> None:
        raise DatasetError("The secret is never written.")

    def _exists(self) -> bool:
        return False  # so that the check before a run loads it, and with it meets a missing or foreign secret

    def _describe(self) -> dict[str, Any]:
        return {}
