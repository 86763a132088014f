"""Decision curves of every cohort and task as a table.

A net benefit that the data cannot define is NaN beside its counts and status.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hyperct_pipeline.errors import ConfigError
from hyperct_pipeline.evaluation.assessment import AssessConfig, Known, cohorts_of, known_of, known_tasks
from hyperct_pipeline.metrics.bootstrap import patient_draws
from hyperct_pipeline.metrics.decision_curves import decision_curve, percent_thresholds


def decision_table(predictions: pd.DataFrame, groups: Mapping[str, str], config: AssessConfig) -> pd.DataFrame:
    """Net benefit of every cohort, and of all together, one row per cohort, task and threshold.

    Columns: cohort, task, group, threshold, net_benefit with ci_low and ci_high, treat_all, treat_none,
    standardized_net_benefit, the same of the recalibrated risk (suffix `_recalibrated`), whether recalibration
    left one risk for everybody (recalibration_is_flat), counts and status.
    The net benefit of a task without known labels is NaN.
    """
    thresholds = percent_thresholds(*config.thresholds_percent)
    tasks = known_tasks(predictions, groups)
    frames = []
    for cohort, part in cohorts_of(predictions):
        for task in tasks:
            known = known_of(part[part["task"] == task])
            place = {"cohort": cohort, "task": task, "group": groups[task], "threshold": thresholds}
            frame = pd.DataFrame(place)
            frames.append(frame.assign(**_columns(known, thresholds, config), **known.counts))
    return pd.concat(frames, ignore_index=True)


def _columns(
    known: Known, thresholds: NDArray[np.float64], config: AssessConfig
) -> dict[str, NDArray[np.float64] | float]:
    """Curve columns of one task; NaN throughout where there is no curve."""
    draws = patient_draws(known.patient, config.bootstrap_draws, np.random.default_rng(config.seed))
    columns: dict[str, NDArray[np.float64] | float] = {"treat_all": np.nan, "treat_none": np.nan}
    columns["recalibration_is_flat"] = known.recalibration_is_flat
    for suffix, risk in (("", known.probability), ("_recalibrated", known.calibrated)):
        names = [name + suffix for name in ("net_benefit", "ci_low", "ci_high", "standardized_net_benefit")]
        if not len(risk) or np.isnan(risk).any():
            columns.update(dict.fromkeys(names, np.nan))
            continue
        curve = decision_curve(known.label, risk, thresholds, draws, config.confidence_level)
        values = (curve.net_benefit, curve.low, curve.high, curve.standardized)
        columns |= {name: np.nan if v is None else v for name, v in zip(names, values, strict=True)}
        columns |= {"treat_all": curve.treat_all, "treat_none": 0.0}
    return columns


def decision_cohorts(predictions: pd.DataFrame, config: AssessConfig) -> tuple[str, ...]:
    """Cohorts that get a decision curve figure.

    Raises:
        ConfigError: a cohort named in the configuration is not in the table.
    """
    found = sorted(set(predictions["cohort"].dropna().astype(str)))
    if strange := sorted(set(config.decision_cohorts) - set(found)):
        raise ConfigError(f"assess.decision_cohorts names {strange}; the predictions hold {found}")
    return config.decision_cohorts or tuple(c for c in found if c.startswith("prospective"))
