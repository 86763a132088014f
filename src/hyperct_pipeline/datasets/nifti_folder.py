"""Converted CT volumes and saliency maps: one NIfTI file per key."""

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset

from hyperct_pipeline.volumes.converted import NiftiFile
from hyperct_pipeline.volumes.volume import ScalarVolume, Volume, write_nifti


class NiftiFolder(AbstractDataset[dict[str, Volume | ScalarVolume], dict[str, NiftiFile]]):
    """A folder of `<key>.nii.gz` files, written atomically; loading gives one `NiftiFile` per file,
    which reads its volume when called.

    Which keys are valid is said by the table that goes with the folder, never by the listing.
    """

    def __init__(self, path: str, gzip_level: int = 3, metadata: dict[str, Any] | None = None) -> None:
        self._folder = Path(path)
        self._gzip_level = gzip_level
        self.metadata = metadata

    def load(self) -> dict[str, NiftiFile]:
        """Map each key to its file."""
        files = sorted(self._folder.glob("[!.]*.nii.gz")) if self._folder.is_dir() else []
        return {file.name.removesuffix(".nii.gz"): NiftiFile(file) for file in files}

    def save(self, data: dict[str, Volume | ScalarVolume]) -> None:
        """Write each volume to its own file."""
        for key, volume in data.items():
            write_nifti(volume, self._folder / f"{key}.nii.gz", gzip_level=self._gzip_level)

    def _exists(self) -> bool:
        return self._folder.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"folder": self._folder.name}
