"""What calling a study positive from one threshold on does, when the threshold was chosen on other patients.

Labels are arrays of known 0 and 1. A share of nobody is not defined: its counts stay, its value is None.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from hyperct_pipeline.metrics.discrimination import known_labels


class Calls(NamedTuple):
    """Studies by call (`score >= threshold` is positive) and label."""

    true_positive: int
    false_positive: int
    true_negative: int
    false_negative: int


class Proportion(NamedTuple):
    """A share with its confidence limits."""

    value: float
    low: float
    high: float


def calls_at(label: ArrayLike, score: ArrayLike, threshold: float) -> Calls:
    """Count the four kinds of calls."""
    positive, called = known_labels(label), np.asarray(score, dtype=np.float64) >= threshold
    return Calls(
        int((called & positive).sum()),
        int((called & ~positive).sum()),
        int((~called & ~positive).sum()),
        int((~called & positive).sum()),
    )


def wilson(count: int, total: int, level: float = 0.95) -> Proportion | None:
    """Wilson's score interval of count / total (JASA 1927;22:209); None where total is 0.

    It takes studies as independent; several studies of one patient make it too narrow.
    """
    if total == 0:
        return None
    z = float(ndtri(0.5 + level / 2.0))
    share, shrink = count / total, 1.0 + z * z / total
    centre = (share + z * z / (2.0 * total)) / shrink
    half = z / shrink * float(np.sqrt(share * (1.0 - share) / total + z * z / (4.0 * total * total)))
    # a limit of exactly 0 or 1 must not be missed by the last digit
    return Proportion(share, 0.0 if count == 0 else centre - half, 1.0 if count == total else centre + half)


def f1_interval(calls: Calls, level: float = 0.95) -> Proportion | None:
    """F1 with Wilson's limits; None where nobody is positive and nobody is called.

    F1 itself is no proportion, but J = TP / (TP + FP + FN) is one, and F1 = 2 J / (1 + J) rises with it: the
    limits are those of J, carried over.
    """
    share = wilson(calls.true_positive, calls.true_positive + calls.false_positive + calls.false_negative, level)
    return None if share is None else Proportion(*(2.0 * j / (1.0 + j) for j in share))
