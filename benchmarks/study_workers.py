"""What the number of studies costs in memory, what a second worker saves, and what a process per study costs.

    python benchmarks/study_workers.py
Archives of small series are written to a temporary folder; index, selection and conversion run in an interpreter of
their own each time, so that its peak memory is that of the run alone.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml
from ingest import PARAMETERS, image
from pydantic import TypeAdapter

from hyperct_pipeline.dicom.conversion import ConvertConfig, convert_all
from hyperct_pipeline.dicom.index import index_series
from hyperct_pipeline.dicom.selection import select_series
from hyperct_pipeline.pseudonyms import DEMO_SECRET, Pseudonyms
from hyperct_pipeline.study_workers import WorkersConfig, run_studies

FEW, MANY, SMALL = 50, 500, 128  # studies, studies, pixels along an image
LARGE_STUDIES, LARGE = 12, 512
N_SLICES, SPACING_MM = 60, 4.0
REPETITIONS = 5


def main() -> None:
    """Print peak memory, seconds and their ratios."""
    with tempfile.TemporaryDirectory() as folder:
        few, many, large = (Path(folder) / name for name in ("few", "many", "large"))
        write_archive(few, FEW, SMALL)
        write_archive(many, MANY, SMALL)
        write_archive(large, LARGE_STUDIES, LARGE)
        runs = {n: measured(archive, 1) for n, archive in ((FEW, few), (MANY, many))}
        for n, run in runs.items():
            print(f"{n:4d} studies: {run['memory_mb']:.0f} MB at most, {run['seconds']:.1f} s")
        print(f"memory of {MANY} studies over {FEW}: {runs[MANY]['memory_mb'] / runs[FEW]['memory_mb']:.2f}")
        seconds = {n: [measured(large, n)["seconds"] for _ in range(REPETITIONS)] for n in (1, 2)}
        one, two = (statistics.median(seconds[n]) for n in (1, 2))
        print(f"{LARGE_STUDIES} studies of {N_SLICES} x {LARGE} x {LARGE}: one worker {one:.1f} s, two {two:.1f} s")
        print(f"two workers are {one / two:.2f} times as fast")
    print(f"a study process around nothing: {1000 * start_of_a_process():.1f} ms")


def write_archive(folder: Path, n_studies: int, matrix: int) -> None:
    """Studies of one series each: noise, half of it around air and half around tissue."""
    rng = np.random.default_rng(0)
    means = np.where(np.arange(matrix)[:, None] < matrix // 2, 24, 1064)
    slices = [np.rint(rng.normal(means, 20, (matrix, matrix))).astype("<i2").tobytes() for _ in range(N_SLICES)]
    for study in range(n_studies):
        (folder / str(study)).mkdir(parents=True)
        for z, pixels in enumerate(slices):
            file = image(z, pixels)
            file.Rows = file.Columns = matrix
            file.ImagePositionPatient = [0.0, 0.0, SPACING_MM * z]
            file.StudyInstanceUID, file.SeriesInstanceUID = f"1.2.3.{study}", f"1.2.4.{study}"
            file.SOPInstanceUID = file.file_meta.MediaStorageSOPInstanceUID = f"1.2.5.{study}.{z}"
            file.save_as(folder / str(study) / f"{z}.dcm")


def measured(archive: Path, n_workers: int) -> dict[str, float]:
    """Seconds and peak memory of a conversion in a new interpreter."""
    command = [sys.executable, __file__, str(archive), str(n_workers)]
    answer: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return answer


def convert(archive: Path, n_workers: int) -> dict[str, float]:
    """Index, select and convert; the memory is that of this process, which sees all studies."""
    config = TypeAdapter(ConvertConfig).validate_python(yaml.safe_load(PARAMETERS.read_text())["convert"])
    workers = WorkersConfig(n_workers=n_workers)
    start = time.perf_counter()
    _, chosen = select_series(index_series(archive, workers), Pseudonyms(DEMO_SECRET), config)
    with tempfile.TemporaryDirectory() as folder:
        for _, row in convert_all(chosen, archive, Path(folder), config, workers):
            assert row["status"] == "converted", row["reason_codes"]
    seconds = time.perf_counter() - start
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "memory_mb": kilobytes / 1024}


def start_of_a_process() -> float:
    """Median seconds of a study that does nothing, template warm."""
    times = []
    start = time.perf_counter()
    for _ in run_studies(os.path.basename, map(str, range(201)), WorkersConfig()):
        times.append(time.perf_counter() - start)
        start = time.perf_counter()
    return statistics.median(times[1:])


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(convert(Path(sys.argv[1]), int(sys.argv[2]))))
    else:
        main()
