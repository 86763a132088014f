"""The store of model-ready volumes."""

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset

from hyperct_pipeline.volumes.store import StoredVolume, VolumeStore


class VolumeStoreFolder(AbstractDataset[dict[str, StoredVolume], VolumeStore]):
    """A `VolumeStore` folder: saving adds studies one by one, loading gives the store itself."""

    def __init__(self, path: str, metadata: dict[str, Any] | None = None) -> None:
        self._folder = Path(path)
        self.metadata = metadata

    def load(self) -> VolumeStore:
        """The store; volumes are memory-mapped when asked for."""
        return VolumeStore(self._folder)

    def save(self, data: dict[str, StoredVolume]) -> None:
        """Put each study into the store, atomically."""
        store = VolumeStore(self._folder)
        for key, stored in data.items():
            store.put(key, stored)

    def _exists(self) -> bool:
        return self._folder.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"folder": self._folder.name}
