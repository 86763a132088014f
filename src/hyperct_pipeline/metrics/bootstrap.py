"""Resampling of patients, never of studies: studies of one patient are not independent."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def patient_draws(patient: ArrayLike, n_draws: int, generator: np.random.Generator) -> NDArray[np.int32]:
    """How often each study stands in each bootstrap sample, (n_draws, n studies).

    A draw takes as many patients as there are, with replacement, and all studies of a patient share its
    count. The same draws serve all tasks and models, so that their differences are compared within a draw.
    """
    _, index = np.unique(np.asarray(patient), return_inverse=True)
    n_patients = int(index.max()) + 1 if index.size else 0
    counts = np.zeros((n_draws, n_patients), dtype=np.int32)
    for draw in range(n_draws if n_patients else 0):
        counts[draw] = np.bincount(generator.integers(n_patients, size=n_patients), minlength=n_patients)
    return counts[:, index.ravel()]


def percentile_band(draws: NDArray[np.float64], level: float = 0.95) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper percentile limits over axis 0; draws that are NaN are left out, all NaN stays NaN."""
    tail = (1.0 - level) / 2.0
    empty = np.isnan(draws).all(axis=0)
    filled = np.where(empty, 0.0, draws)  # nanquantile warns about a column without values
    low, high = np.nanquantile(filled, [tail, 1.0 - tail], axis=0)
    return np.where(empty, np.nan, low), np.where(empty, np.nan, high)
