"""Converted volumes: files that the conversion manifest describes, and what is wrong where they are not as it says."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hyperct_pipeline.errors import StoreError
from hyperct_pipeline.study_workers import FAILURE_REMEDIES
from hyperct_pipeline.volumes.nifti_file import read_nifti
from hyperct_pipeline.volumes.volume import Volume

NIFTI_MISSING, NIFTI_UNREADABLE, NIFTI_CHANGED = "NIFTI_MISSING", "NIFTI_UNREADABLE", "NIFTI_CHANGED"
REMEDIES = {
    NIFTI_MISSING: "The manifest names a NIfTI that is not there; run `kedro run --pipelines=convert` again.",
    NIFTI_UNREADABLE: "The NIfTI is damaged; remove it and run `kedro run --pipelines=convert` again.",
    NIFTI_CHANGED: "The NIfTI is not the one that was converted; remove it and run `kedro run --pipelines=convert` "
    "again.",
    **FAILURE_REMEDIES,
}


class ConvertedVolumeError(StoreError):
    """A converted volume cannot be used; the text is one of the reason codes above."""


@dataclass(frozen=True)
class NiftiFile:
    """One NIfTI file, read when it is called. Small and picklable, so that it can travel to a worker."""

    path: Path

    def __call__(self) -> Volume:
        """The volume.

        Raises:
            StoreError: absent, damaged or no CT.
        """
        return read_nifti(self.path)

    @property
    def n_bytes(self) -> int | None:
        """Size of the file, None where there is none."""
        return self.path.stat().st_size if self.path.is_file() else None


NiftiFiles = Mapping[str, NiftiFile]


def converted_volume(file: NiftiFile | None, content_sha256: str) -> Volume:
    """The volume of one study exactly as it was converted.

    Args:
        file: of the study, None where the folder has none.
        content_sha256: digest of the volume in the conversion manifest.

    Raises:
        ConvertedVolumeError: NIFTI_MISSING, NIFTI_UNREADABLE or NIFTI_CHANGED.
    """
    if file is None or file.n_bytes is None:
        raise ConvertedVolumeError(NIFTI_MISSING)
    try:
        volume = file()
    except StoreError:
        raise ConvertedVolumeError(NIFTI_UNREADABLE) from None
    if volume.digest() != content_sha256:
        raise ConvertedVolumeError(NIFTI_CHANGED)
    return volume
