"""Resampling of patients, never of studies: studies of one patient are not independent.

Shape letters: n studies, P patients, D bootstrap draws.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtri

BLOCK = 16  # draws summed together at least: the running sums of a block stay near the processor
BLOCK_CELLS = 2**15  # patients times draws of a block of few patients, where the calls cost more than the sums


def patient_counts(n_patients: int, n_draws: int, generator: np.random.Generator) -> NDArray[np.int32]:
    """How often each patient stands in each bootstrap sample, (P, D).

    A draw takes as many patients as there are, with replacement. All studies of a patient share its count, and
    the same draws serve all tasks and models, so that their differences are compared within a draw.
    """
    counts = np.zeros((n_draws, n_patients), dtype=np.int32)
    for draw in range(n_draws if n_patients else 0):
        counts[draw] = np.bincount(generator.integers(n_patients, size=n_patients), minlength=n_patients)
    return np.ascontiguousarray(counts.T)


def blocks(counts: NDArray[np.int32]) -> Iterator[tuple[slice, NDArray[np.int32]]]:
    """The draws in blocks: their columns, and the counts (P, d) of these."""
    size = max(BLOCK, BLOCK_CELLS // max(len(counts), 1))
    for first in range(0, counts.shape[1], size):
        part = slice(first, min(first + size, counts.shape[1]))
        yield part, np.ascontiguousarray(counts[:, part])


def percentile_band(draws: NDArray[np.float64], level: float = 0.95) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper percentile limits over axis 0; draws that are NaN are left out, all NaN stays NaN."""
    tail = (1.0 - level) / 2.0
    undefined = np.isnan(draws)
    empty, lost = undefined.all(axis=0), undefined.all(axis=1)
    if lost.any() and not lost.all():  # a draw is mostly undefined as a whole
        draws, undefined = draws[~lost], undefined[~lost]
    if not undefined.any():  # the common case, and much faster
        low, high = np.quantile(draws, [tail, 1.0 - tail], axis=0)
        return low, high
    filled = np.where(empty, 0.0, draws)  # nanquantile warns about a column without values
    low, high = np.nanquantile(filled, [tail, 1.0 - tail], axis=0)
    return np.where(empty, np.nan, low), np.where(empty, np.nan, high)


def mean_draws(values: Sequence[float], draws: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Draws (D,) of the mean of several tasks' values, from the draws (D,) of each.

    A task that is undefined in a draw, because the draw lacks one of its classes, adds nothing to it: a draw is the
    mean of the values plus the mean deviation of the tasks that are defined there. So no draw is higher or lower only
    because a good or a bad task is missing from it. NaN where no task is defined.
    """
    deviations = np.stack(draws) - np.asarray(values)[:, None]  # (tasks, D)
    present = ~np.isnan(deviations)
    n = present.sum(axis=0)
    total = np.where(present, deviations, 0.0).sum(axis=0)
    result: NDArray[np.float64] = float(np.mean(values)) + total / np.where(n > 0, n, np.nan)
    return result


def complete_share(draws: Sequence[NDArray[np.float64]]) -> float:
    """Share of the draws (D,) in which every task is defined."""
    return float((~np.isnan(np.stack(draws)).any(axis=0)).mean())


def logit_limits(value: float, draws: NDArray[np.float64], level: float = 0.95) -> tuple[float, float] | None:
    """Limits around a share in (0, 1) from the spread of its draws (D,), symmetric on the logit scale.

    For a metric whose draws lie off its value: a patient who is drawn twice ranks beside itself, which raises the
    draws of the average precision, so that percentiles of the draws miss what the value estimates. The spread is not
    moved by that. Standard error on the logit scale by the delta method, SD / (value (1 - value)) (Pepe 2003, section
    5.2). NaN draws are left out. None where value or spread leave nothing to say.
    """
    defined = draws[~np.isnan(draws)]
    if len(defined) < 2 or not 0.0 < value < 1.0:
        return None
    half = float(ndtri(0.5 + level / 2.0)) * float(defined.std(ddof=1)) / (value * (1.0 - value))
    centre = float(logit(value))
    return float(expit(centre - half)), float(expit(centre + half))


def summed(values: NDArray[np.float64], patient: NDArray[np.integer], counts: NDArray[np.int32]) -> NDArray[np.float64]:
    """Weighted sum of something per study (n, k) in every draw, (D, k)."""
    per_patient = np.stack([np.bincount(patient, column, minlength=len(counts)) for column in values.T], axis=1)
    sums = np.empty((counts.shape[1], per_patient.shape[1]))
    for part, block in blocks(counts):
        sums[part] = block.T.astype(np.float64) @ per_patient
    return sums
