"""Converted CT volumes and saliency maps: one NIfTI file per key."""

from pathlib import Path
from typing import Any, Literal

from kedro.io import AbstractDataset

from hyperct_pipeline.atomic_file import replacing_folder
from hyperct_pipeline.volumes.converted import NiftiFile
from hyperct_pipeline.volumes.nifti_file import write_nifti
from hyperct_pipeline.volumes.volume import ScalarVolume, Volume


class NiftiFolder(AbstractDataset[dict[str, Volume | ScalarVolume], dict[str, NiftiFile]]):
    """A folder of `<key>.nii.gz` files, written atomically; loading gives one `NiftiFile` per file,
    which reads its volume when called.

    Which keys are valid is said by the table that goes with the folder, never by the listing.

    Args:
        path: the folder.
        gzip_level: 1 (fast) to 9 (small).
        earlier: what becomes of files of earlier runs. `kept`: they stay (an archive that grows); `replaced`: a save
            replaces the whole folder; `emptied`: a save of an empty mapping, with which a node that yields its
            volumes one by one begins, empties the folder.
    """

    def __init__(
        self,
        path: str,
        gzip_level: int = 3,
        earlier: Literal["kept", "replaced", "emptied"] = "kept",
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._folder = Path(path)
        self._earlier = earlier
        self._gzip_level = gzip_level
        self.metadata = metadata

    def load(self) -> dict[str, NiftiFile]:
        """Map each key to its file."""
        files = sorted(self._folder.glob("[!.]*.nii.gz")) if self._folder.is_dir() else []
        return {file.name.removesuffix(".nii.gz"): NiftiFile(file) for file in files}

    def save(self, data: dict[str, Volume | ScalarVolume]) -> None:
        """Write each volume to its own file."""
        if self._earlier == "replaced" or (self._earlier == "emptied" and not data):
            with replacing_folder(self._folder) as draft:
                self._write(data, draft)
        else:
            self._write(data, self._folder)

    def _write(self, data: dict[str, Volume | ScalarVolume], folder: Path) -> None:
        for key, volume in data.items():
            write_nifti(volume, folder / f"{key}.nii.gz", gzip_level=self._gzip_level)

    def _exists(self) -> bool:
        return self._folder.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"folder": self._folder.name}
