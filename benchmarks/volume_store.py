"""Milliseconds per random training crop, from a cold start of the file object, for five ways to keep a volume.

Run `python benchmarks/volume_store.py [--studies 8] [--rounds 120] [--volumes FOLDER]`. The volumes are the shapes and
noise of `chest_like`, or those of a store that `preprocess` filled. Every way holds the same preprocessed volumes of
published grid (164 x 164 x 164, int16 HU); a crop is 144 x 144 at a random place, all slices, copied to one buffer. A
second table counts 15 random triplets of neighbouring slices instead of all slices. The ways take turns in a random
order within a round, so that a busy machine slows all of them, and medians are compared. Files are in the page cache:
the figures say what a format costs, not what a disk costs.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from hyperct_pipeline.volumes.nifti_file import write_nifti
from hyperct_pipeline.volumes.store import StoredVolume, StoreForm, VolumeStore
from hyperct_pipeline.volumes.volume import Volume

SIDE, CROP = 164, 144
STORE, COMPACT = "the store, mapped", "the store, compact"
N_TRIPLETS = 15

# (study, slices, first row, first column) -> (Z, Y, X), in memory or mapped
Crop = Callable[[int, NDArray[np.int64] | slice, int, int], NDArray[np.int16]]


def chest_like(rng: np.random.Generator) -> NDArray[np.int16]:
    """(Z, Y, X) HU of a body with lungs in air; noise where there is tissue, so that it compresses like a CT."""
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, SIDE)] * 3, indexing="ij")
    hu = np.full((SIDE,) * 3, -1000.0)
    hu[x**2 + (y / 0.75) ** 2 < 0.8] = 40
    hu[((np.abs(x) - 0.4) / 0.3) ** 2 + (y / 0.5) ** 2 + (z / 0.9) ** 2 < 1] = -850
    hu[hu > -1000] += rng.normal(0, 25, int((hu > -1000).sum()))
    return np.clip(np.rint(hu), -1000, 1000).astype(np.int16)


def volumes(folder: Path | None, n_studies: int) -> list[NDArray[np.int16]]:
    """(Z, Y, X) HU each: of a store, or made here."""
    if folder is None:
        rng = np.random.default_rng(0)
        return [chest_like(rng) for _ in range(n_studies)]
    store = VolumeStore(folder)
    found = [np.asarray(store.get(key).hu) for key in sorted({path.stem for path in folder.iterdir()})[:n_studies]]
    if any(min(hu.shape[1:]) < CROP for hu in found):
        raise SystemExit(f"the volumes must be at least {CROP} x {CROP} in plane")
    return found


def written(folder: Path, studies: list[NDArray[np.int16]]) -> None:
    """The same studies in all formats."""
    for study, hu in enumerate(studies):
        for suffix in (".nii.gz", ".nii"):
            write_nifti(Volume(hu, np.eye(4)), folder / f"{study}{suffix}", gzip_level=3)
        np.save(folder / f"{study}.npy", hu)
        stored = StoredVolume(hu, np.eye(4), hu.shape, np.arange(len(hu)), "benchmark")
        for form in get_args(StoreForm):
            VolumeStore(folder / form).put(str(study), stored, form)


def ways(folder: Path) -> dict[str, tuple[Crop, str]]:
    """How each format gives a crop, and which files it has."""

    def nifti(suffix: str) -> Crop:
        def crop(study: int, slices: NDArray[np.int64] | slice, row: int, column: int) -> NDArray[np.int16]:
            image = nib.load(folder / f"{study}{suffix}")
            part = image.dataobj[column : column + CROP, row : row + CROP]  # (X, Y, Z), only what is asked for
            return np.asarray(part).T[slices]

        return crop

    def npy(study: int, slices: NDArray[np.int64] | slice, row: int, column: int) -> NDArray[np.int16]:
        mapped = np.load(folder / f"{study}.npy", mmap_mode="r")
        return mapped[slices, row : row + CROP, column : column + CROP]

    def stored(form: StoreForm) -> Crop:
        store = VolumeStore(folder / form)

        def crop(study: int, slices: NDArray[np.int64] | slice, row: int, column: int) -> NDArray[np.int16]:
            return store.get(str(study)).hu[slices, row : row + CROP, column : column + CROP]

        return crop

    return {
        ".nii.gz": (nifti(".nii.gz"), "*.nii.gz"),
        ".nii": (nifti(".nii"), "*.nii"),
        ".npy, memory-mapped": (npy, "*.npy"),
        STORE: (stored("mapped"), "mapped/*"),
        COMPACT: (stored("compact"), "compact/*"),
    }


def measured(crops: dict[str, Crop], depths: list[int], rounds: int, few: bool) -> dict[str, list[float]]:
    """Milliseconds of each crop by way; the ways take turns. `few`: of some slices instead of all."""
    rng = np.random.default_rng(1)
    found: dict[str, list[float]] = {name: [] for name in crops}
    buffer = np.empty((max(depths), CROP, CROP), dtype=np.int16)
    for _ in range(rounds):
        study = int(rng.integers(len(depths)))
        triplets = 3 * np.sort(rng.choice(depths[study] // 3, min(N_TRIPLETS, depths[study] // 3), replace=False))
        slices = (triplets[:, None] + np.arange(3)).ravel() if few else slice(None)
        here = buffer[: 3 * len(triplets) if few else depths[study]]  # the allocator would cost more than a crop
        row, column = (int(start) for start in rng.integers(0, SIDE - CROP + 1, 2))
        sums = set()
        for name in rng.permutation(list(crops)):
            start = time.perf_counter()
            np.copyto(here, crops[name](study, slices, row, column))
            found[name].append(1000 * (time.perf_counter() - start))
            sums.add(int(here.sum(dtype=np.int64)))
        assert len(sums) == 1, "the formats hold different volumes"
    return found


def main() -> None:
    """Print two Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=120)
    parser.add_argument("--volumes", type=Path, help="04_feature/volumes of a data_root, instead of made ones")
    options = parser.parse_args()
    studies = volumes(options.volumes, options.studies)
    depths, voxel_bytes = [len(hu) for hu in studies], sum(hu.nbytes for hu in studies)
    with tempfile.TemporaryDirectory() as folder:
        written(Path(folder), studies)
        found = ways(Path(folder))
        crops = {name: crop for name, (crop, _) in found.items()}
        measured(crops, depths, len(studies), few=False)  # fills the page cache
        for few, what in ((False, "all slices"), (True, f"{N_TRIPLETS} triplets")):
            times = measured(crops, depths, options.rounds, few)
            medians = {name: statistics.median(ms) for name, ms in times.items()}
            print(f"\n| {what} of | median ms per crop | against the store | bytes against int16 |\n|---|---|---|---|")
            for name, ms in medians.items():
                share = sum(file.stat().st_size for file in Path(folder).glob(found[name][1])) / voxel_bytes
                print(f"| {name} | {ms:.2f} | {ms / medians[STORE]:.1f} x | {share:.2f} |")


if __name__ == "__main__":
    main()
