"""Milliseconds per random training crop, from a cold start of the file object, for four ways to keep a volume.

Run `python benchmarks/volume_store.py [--studies 8] [--rounds 120]`. Every way holds the same preprocessed volumes of
published grid (164 x 164 x 164, int16 HU); a crop is 144 x 144 at a random place, all slices, copied to one buffer.
The ways take turns in a random order within a round, so that a busy machine slows all of them, and medians are
compared. Files are in the page cache: the figures say what a format costs, not what a disk costs.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from hyperct_pipeline.volumes.nifti_file import write_nifti
from hyperct_pipeline.volumes.store import StoredVolume, VolumeStore
from hyperct_pipeline.volumes.volume import Volume

SIDE, CROP = 164, 144
STORE = "the store (.npy with description)"

# (study, first row, first column) -> (Z, Y, X), in memory or mapped
Crop = Callable[[int, int, int], NDArray[np.int16]]


def chest_like(rng: np.random.Generator) -> NDArray[np.int16]:
    """(Z, Y, X) HU of a body with lungs in air; noise where there is tissue, so that it compresses like a CT."""
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, SIDE)] * 3, indexing="ij")
    hu = np.full((SIDE,) * 3, -1000.0)
    hu[x**2 + (y / 0.75) ** 2 < 0.8] = 40
    hu[((np.abs(x) - 0.4) / 0.3) ** 2 + (y / 0.5) ** 2 + (z / 0.9) ** 2 < 1] = -850
    hu[hu > -1000] += rng.normal(0, 25, int((hu > -1000).sum()))
    return np.clip(np.rint(hu), -1000, 1000).astype(np.int16)


def written(folder: Path, n_studies: int) -> None:
    """The same studies in all four formats."""
    rng = np.random.default_rng(0)
    for study in range(n_studies):
        hu = chest_like(rng)
        for suffix in (".nii.gz", ".nii"):
            write_nifti(Volume(hu, np.eye(4)), folder / f"{study}{suffix}", gzip_level=3)
        np.save(folder / f"{study}.npy", hu)
        stored = StoredVolume(hu, np.eye(4), (SIDE,) * 3, np.arange(SIDE), "benchmark")
        VolumeStore(folder / "store").put(str(study), stored)


def ways(folder: Path) -> dict[str, tuple[Crop, Path]]:
    """How each format gives a crop, and a file of it."""

    def nifti(suffix: str) -> Crop:
        def crop(study: int, row: int, column: int) -> NDArray[np.int16]:
            image = nib.load(folder / f"{study}{suffix}")
            part = image.dataobj[column : column + CROP, row : row + CROP]  # (X, Y, Z), only what is asked for
            return np.asarray(part).T

        return crop

    def npy(study: int, row: int, column: int) -> NDArray[np.int16]:
        mapped = np.load(folder / f"{study}.npy", mmap_mode="r")
        return mapped[:, row : row + CROP, column : column + CROP]

    store = VolumeStore(folder / "store")

    def stored(study: int, row: int, column: int) -> NDArray[np.int16]:
        return store.get(str(study)).hu[:, row : row + CROP, column : column + CROP]

    return {
        ".nii.gz": (nifti(".nii.gz"), folder / "0.nii.gz"),
        ".nii": (nifti(".nii"), folder / "0.nii"),
        ".npy, memory-mapped": (npy, folder / "0.npy"),
        STORE: (stored, store.path_of("0")),
    }


def measured(crops: dict[str, Crop], n_studies: int, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each crop by way; the ways take turns."""
    rng = np.random.default_rng(1)
    found: dict[str, list[float]] = {name: [] for name in crops}
    buffer = np.empty((SIDE, CROP, CROP), dtype=np.int16)
    for _ in range(rounds):
        study = int(rng.integers(n_studies))
        row, column = (int(start) for start in rng.integers(0, SIDE - CROP + 1, 2))
        sums = set()
        for name in rng.permutation(list(crops)):
            start = time.perf_counter()
            np.copyto(buffer, crops[name](study, row, column))  # its own memory: the allocator costs more than a crop
            found[name].append(1000 * (time.perf_counter() - start))
            sums.add(int(buffer.sum(dtype=np.int64)))
        assert len(sums) == 1, "the formats hold different volumes"
    return found


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=120)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        written(Path(folder), options.studies)
        found = ways(Path(folder))
        crops = {name: crop for name, (crop, _) in found.items()}
        measured(crops, options.studies, options.studies)  # fills the page cache
        medians = {name: statistics.median(ms) for name, ms in measured(crops, options.studies, options.rounds).items()}
        print("| format | median ms per crop | against the store | MB per study |\n|---|---|---|---|")
        for name, ms in medians.items():
            size = found[name][1].stat().st_size / 1e6
            print(f"| {name} | {ms:.2f} | {ms / medians[STORE]:.1f} x | {size:.1f} |")


if __name__ == "__main__":
    main()
