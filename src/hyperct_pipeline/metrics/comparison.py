"""Two models on the same studies: difference of their AUROCs, paired and clustered by patient; families of tests.

Shape letters: n studies, m tests.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from hyperct_pipeline.metrics.discrimination import known_labels, paired_variance, placements


class Difference(NamedTuple):
    """First minus second AUROC with limits, and the two-sided p of no difference; None where not defined."""

    first: float
    second: float
    value: float
    low: float | None
    high: float | None
    p: float | None


def auroc_difference(
    label: ArrayLike, first: ArrayLike, second: ArrayLike, patient: NDArray[np.integer], level: float = 0.95
) -> Difference | None:
    """Difference with Obuchowski's interval and test; None when a class is absent.

    The placements of both models are subtracted study by study, so the covariance of the models is in the variance
    of the difference. With one study per patient this is DeLong's test. Two models that rank all pairs alike differ
    by 0 without variance: limits and p are None then, because there is nothing to test.

    Sources: DeLong et al., Biometrics 1988;44:837; Obuchowski, Biometrics 1997;53:567.
    """
    positive = known_labels(label)
    if not positive.any() or positive.all():
        return None
    one, two = placements(label, first), placements(label, second)
    areas = float(one[0].mean()), float(two[0].mean())
    value = areas[0] - areas[1]
    excess = [a - b - value for a, b in zip(one, two, strict=True)]
    variance = paired_variance(positive, np.asarray(patient), excess[0], excess[1])
    if variance is None:
        return Difference(*areas, value, None, None, None)
    error = float(np.sqrt(variance))
    half = float(ndtri(0.5 + level / 2.0)) * error
    p = 2.0 * float(ndtr(-abs(value) / error))
    return Difference(*areas, value, max(value - half, -1.0), min(value + half, 1.0), p)


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Holm's adjusted p (m,): the chance of any false claim in the family stays below the level.

    Source: Holm, Scand J Stat 1979;6:65. Undefined tests leave the family before the call.
    """
    values = _family(p)
    order = np.argsort(values, kind="stable")
    steps = values[order] * np.arange(len(values), 0, -1)
    return _placed(np.minimum(np.maximum.accumulate(steps), 1.0), order)


def benjamini_hochberg(p: ArrayLike) -> NDArray[np.float64]:
    """Benjamini and Hochberg's adjusted p (m,): the expected share of false findings stays below the level.

    Source: J R Stat Soc B 1995;57:289. Undefined tests leave the family before the call.
    """
    values = _family(p)
    order = np.argsort(values, kind="stable")
    steps = values[order] * len(values) / np.arange(1, len(values) + 1)
    return _placed(np.minimum(np.minimum.accumulate(steps[::-1])[::-1], 1.0), order)


def _family(p: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(p, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("p must lie in [0, 1]; take undefined tests out of the family first")
    return values


def _placed(adjusted: NDArray[np.float64], order: NDArray[np.intp]) -> NDArray[np.float64]:
    result = np.empty_like(adjusted)
    result[order] = adjusted
    return result
