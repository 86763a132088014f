"""One joint patient bootstrap of a cohort: what every task and model is worth in each draw.

Shape letters: D draws, T thresholds.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hyperct_pipeline.evaluation.assess_settings import AssessConfig
from hyperct_pipeline.evaluation.task_rows import Known
from hyperct_pipeline.metrics.bootstrap import logit_limits, percentile_band, summed
from hyperct_pipeline.metrics.decision_curves import net_benefit, net_benefit_at_prevalence, percent_thresholds
from hyperct_pipeline.metrics.ranking_draws import RankedStudies

SPECIFICITIES = (0.90, 0.95)
METHOD, LOGIT_METHOD = "patient_bootstrap", "patient_bootstrap_logit"


@dataclass(frozen=True)
class ScoreDraws:
    """One score of one task in every draw: metrics (D,), NaN where undefined, and net benefits (D, T)."""

    metrics: Mapping[str, NDArray[np.float64]]  # auc, auprc, sens_at_spec_90, sens_at_spec_95, brier
    net_benefit: NDArray[np.float64]
    treat_all: NDArray[np.float64]
    net_benefit_stated: NDArray[np.float64] | None = None  # (D, T) at the stated prevalence; None: none is stated


def interval_of(draws: NDArray[np.float64], level: float) -> tuple[float | None, float | None, str]:
    """Percentile limits of draws (D,) and their method; None where they would have no width.

    A single patient, or a score that separates the classes in every draw, gives equal draws: that is no certainty.
    """
    low, high = (float(limit[0]) for limit in percentile_band(draws[:, None], level))
    if not high - low > 1e-12:
        return None, None, "undefined_variance"
    return low, high, METHOD


def metric_interval(
    metric: str, value: float, draws: NDArray[np.float64], level: float
) -> tuple[float | None, float | None, str]:
    """Limits of a metric, or of its mean over tasks, from its draws (D,), and their method.

    Percentiles, but for `auprc`: its draws lie above its value (`bootstrap.logit_limits`), and its limits are for the
    average precision that samples of this size have on average. None where the limits would have no width.
    """
    if metric != "auprc":
        return interval_of(draws, level)
    limits = logit_limits(value, draws, level)
    if limits is None or not limits[1] - limits[0] > 1e-12:
        return None, None, "undefined_variance"
    return *limits, LOGIT_METHOD


def score_draws(
    known: Known, score: NDArray[np.float64], counts: NDArray[np.int32], task: str, config: AssessConfig
) -> ScoreDraws:
    """All that is resampled of one score, from one sort.

    Args:
        known: the studies of the task.
        score: (n,), a probability of theirs.
        counts: (P, D) of `bootstrap.patient_counts`, for all patients of the part.
        task: for its range of thresholds.
        config: thresholds.
    """
    thresholds = percent_thresholds(*config.percents_of(task))
    ranked = RankedStudies(known.label, score, known.patient).draws(counts, SPECIFICITIES, thresholds)
    squares = summed(((score - known.label) ** 2)[:, None], known.patient, counts)[:, 0]
    n = ranked.n_pos + ranked.n_neg
    metrics = {"auc": ranked.auc, "auprc": ranked.auprc, "brier": squares / np.where(n > 0, n, np.nan)}
    names = [f"sens_at_spec_{round(100 * s)}" for s in SPECIFICITIES]
    metrics |= dict(zip(names, ranked.sens_at_spec, strict=True))
    stated = config.stated_prevalence.get(task)
    calls = (ranked.true_calls, ranked.false_calls, ranked.n_pos[:, None], ranked.n_neg[:, None])
    return ScoreDraws(
        metrics=metrics,
        net_benefit_stated=None if stated is None else net_benefit_at_prevalence(*calls, thresholds, stated),
        net_benefit=net_benefit(ranked.true_calls, ranked.false_calls, n[:, None], thresholds),
        treat_all=net_benefit(ranked.n_pos[:, None], ranked.n_neg[:, None], n[:, None], thresholds),
    )
