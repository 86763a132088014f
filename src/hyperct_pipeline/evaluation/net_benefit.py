"""Decision curves of a task as a table, and which cohorts get a figure.

A net benefit that the data cannot define is NaN beside its counts and status.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hyperct_pipeline.errors import ConfigError
from hyperct_pipeline.evaluation.assess_settings import ALL, AssessConfig
from hyperct_pipeline.evaluation.part_draws import ScoreDraws
from hyperct_pipeline.evaluation.task_rows import Known
from hyperct_pipeline.metrics.bootstrap import percentile_band
from hyperct_pipeline.metrics.decision_curves import (
    chance_of_being_best,
    decision_curve,
    percent_thresholds,
    value_of_perfect_information,
)

CURVE_COLUMNS = (
    "net_benefit",
    "ci_low",
    "ci_high",
    "standardized_net_benefit",
    "interventions_avoided_per_100",
    "p_best",
    "evpi",
    "net_benefit_stated",
    "net_benefit_stated_ci_low",
    "net_benefit_stated_ci_high",
)


def curve_frame(
    known: Known,
    scores: Mapping[str, NDArray[np.float64]],
    draws: Mapping[str, ScoreDraws],
    calibrated: ScoreDraws | None,
    place: Mapping[str, str],
    config: AssessConfig,
) -> pd.DataFrame:
    """Net benefit of every model on one task, one row per model and threshold.

    Columns: model, threshold; `CURVE_COLUMNS` of the risk as given, and with the suffix `_recalibrated` of the
    recalibrated risk (the primary model's alone); treat_all, treat_none; treat_all_stated and the stated_prevalence
    itself where one is configured; recalibration_is_flat; counts and status; cohort, subgroup, task and group of
    `place`. P(best) and EVPI are over the models of the table, treating all and treating none; those of the
    recalibrated risk over it, treating all and treating none.
    """
    thresholds = percent_thresholds(*config.percents_of(place["task"]))
    stated = config.stated_prevalence.get(place["task"], np.nan)
    primary = next(iter(draws.values()))
    models = [of.net_benefit for of in draws.values()]
    best, value = _among([*models, primary.treat_all])
    frames = []
    for at, (model, score) in enumerate(scores.items()):
        own = calibrated if at == 0 else None
        columns = _columns(known, score, thresholds, draws[model], stated, config)
        columns |= {"p_best": best[at], "evpi": value} if len(known.label) else {}
        second = dict.fromkeys(CURVE_COLUMNS, np.full(len(thresholds), np.nan))
        if own is not None:
            second = _columns(known, known.calibrated, thresholds, own, stated, config)
            chance, worth = _among([own.net_benefit, own.treat_all])
            second |= {"p_best": chance[0], "evpi": worth}
        recalibrated = {f"{name}_recalibrated": second[name] for name in CURVE_COLUMNS}
        flat = known.recalibration_is_flat and at == 0
        facts = {"model": model, "stated_prevalence": stated, "recalibration_is_flat": flat, **known.counts, **place}
        # made at once: a frame that grows by columns takes longer than the numbers in it
        frames.append(pd.DataFrame({"threshold": thresholds} | columns | recalibrated | facts))
    return pd.concat(frames, ignore_index=True)


def _among(strategies: list[NDArray[np.float64]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """P(best) of each strategy and EVPI, beside treating none, from net benefits (D, T)."""
    stacked = np.stack([*strategies, np.where(np.isnan(strategies[0]), np.nan, 0.0)])
    return chance_of_being_best(stacked), value_of_perfect_information(stacked)


def _columns(
    known: Known,
    risk: NDArray[np.float64],
    thresholds: NDArray[np.float64],
    draws: ScoreDraws,
    stated: float,
    config: AssessConfig,
) -> dict[str, NDArray[np.float64]]:
    """Curve columns of one risk; NaN throughout where there are no labels."""
    nothing = np.full(len(thresholds), np.nan)
    if not len(risk):
        return dict.fromkeys((*CURVE_COLUMNS, "treat_all", "treat_none", "treat_all_stated"), nothing)
    curve = decision_curve(known.label, risk, thresholds)
    low, high = percentile_band(draws.net_benefit, config.confidence_level)
    elsewhere, all_elsewhere = curve.at_prevalence(stated)  # NaN where no prevalence is stated
    elsewhere_low, elsewhere_high = nothing, nothing
    if draws.net_benefit_stated is not None:
        elsewhere_low, elsewhere_high = percentile_band(draws.net_benefit_stated, config.confidence_level)
    return {
        "net_benefit": curve.net_benefit,
        "ci_low": low,
        "ci_high": high,
        "treat_all": curve.treat_all,
        "treat_none": np.zeros(len(thresholds)),
        "standardized_net_benefit": curve.standardized,
        "interventions_avoided_per_100": curve.interventions_avoided,
        "net_benefit_stated": elsewhere,
        "net_benefit_stated_ci_low": elsewhere_low,
        "net_benefit_stated_ci_high": elsewhere_high,
        "treat_all_stated": all_elsewhere,
    }


def decision_cohorts(predictions: pd.DataFrame, config: AssessConfig) -> tuple[str, ...]:
    """Cohorts with a decision curve figure: those named, else the prospective ones, else all; `all` without cohorts.

    Raises:
        ConfigError: a cohort named in the configuration is not in the table.
    """
    found = sorted(set(predictions["cohort"].dropna().astype(str)))
    if strange := sorted(set(config.decision_cohorts) - set(found)):
        raise ConfigError(f"assess.decision_cohorts names {strange}; the predictions hold {found}")
    prospective = tuple(c for c in found if c.startswith("prospective"))
    return config.decision_cohorts or prospective or tuple(found) or (ALL,)


def drawn_tasks(curves: pd.DataFrame, group: str) -> pd.DataFrame:
    """Rows of the tasks of one group; of all tasks where the table has none of that group."""
    of_group = curves[curves["group"] == group]
    return curves if of_group.empty else of_group
