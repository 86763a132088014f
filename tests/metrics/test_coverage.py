"""How often intervals cover the truth where studies are clustered in patients; too slow for every commit."""

import numpy as np
import pytest

from hyperct_pipeline.metrics.bootstrap import logit_limits, patient_counts, percentile_band
from hyperct_pipeline.metrics.calibration_intervals import in_the_large_interval
from hyperct_pipeline.metrics.discrimination import auprc, auroc_interval
from hyperct_pipeline.metrics.ranking_draws import RankedStudies

pytestmark = pytest.mark.nightly

# binormal with a shared patient effect: AUROC = Phi(shift / sqrt(2)) whatever the share
TRUTH = {1.0: 0.7602499389065233, 2.0: 0.9213503964748575}


def _scores(rng: np.random.Generator, n_patients: int, shift: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    patient = np.repeat(np.arange(n_patients), rng.integers(1, 6, n_patients))  # one to five studies each
    label = (rng.random(len(patient)) < 0.3).astype(int)
    noise = np.sqrt(0.6) * rng.normal(size=n_patients)[patient] + np.sqrt(0.4) * rng.normal(size=len(patient))
    return label, shift * label + noise, patient


@pytest.mark.parametrize(("n_patients", "shift"), [(40, 1.0), (200, 1.0), (80, 2.0)])
def test_the_clustered_auroc_interval_covers(n_patients: int, shift: float) -> None:
    rng, covered, runs = np.random.default_rng(0), 0, 2000
    for _ in range(runs):
        interval = auroc_interval(*_scores(rng, n_patients, shift))
        assert interval is not None and interval.low is not None and interval.high is not None
        covered += interval.low <= TRUTH[shift] <= interval.high
    assert 0.93 <= covered / runs <= 0.97


def test_an_interval_that_ignores_patients_covers_less() -> None:
    # one score per patient, all studies of one label: clusters carry no information beyond their first study
    rng, clustered, ignoring, runs = np.random.default_rng(1), 0, 0, 1000
    for _ in range(runs):
        patient = np.repeat(np.arange(60), 4)
        of_patient = rng.integers(0, 2, 60)
        label, score = of_patient[patient], (of_patient + rng.normal(size=60))[patient]
        for groups, name in ((patient, "clustered"), (np.arange(240), "ignoring")):
            interval = auroc_interval(label, score, groups)
            assert interval is not None and interval.low is not None and interval.high is not None
            hit = interval.low <= TRUTH[1.0] <= interval.high
            clustered, ignoring = (clustered + hit, ignoring) if name == "clustered" else (clustered, ignoring + hit)
    assert clustered / runs >= 0.93
    assert ignoring / runs <= 0.75


def test_the_bootstrap_of_the_auroc_covers() -> None:
    rng, covered, runs = np.random.default_rng(2), 0, 500
    for _ in range(runs):
        label, score, patient = _scores(rng, 100, 1.0)
        draws = RankedStudies(label, score, patient).draws(patient_counts(100, 300, rng)).auc
        low, high = percentile_band(draws[:, None])
        covered += low[0] <= TRUTH[1.0] <= high[0]
    assert 0.915 <= covered / runs <= 0.975


@pytest.mark.parametrize(("n_patients", "shift", "n_tasks"), [(50, 0.0, 18), (60, 1.0, 7), (60, 1.0, 1), (150, 2.0, 1)])
def test_the_interval_of_average_precision_covers_what_such_samples_have(
    n_patients: int, shift: float, n_tasks: int
) -> None:
    # the tasks of a sample share its patients' draws, as in a macro mean
    rng, covered, runs = np.random.default_rng(4), 0, 300
    expected = np.mean([auprc(*_scores(rng, n_patients, shift)[:2]) for _ in range(3000)])
    for _ in range(runs):
        counts, values, draws = patient_counts(n_patients, 200, rng), [], []
        for _ in range(n_tasks):
            label, score, patient = _scores(rng, n_patients, shift)
            values.append(auprc(label, score))
            draws.append(RankedStudies(label, score, patient).draws(counts).auprc)
        limits = logit_limits(float(np.mean(values)), np.mean(draws, axis=0))
        assert limits is not None
        covered += limits[0] <= expected <= limits[1]
    assert 0.88 <= covered / runs <= 0.995


def test_the_sandwich_interval_of_calibration_covers() -> None:
    # risks are right on the whole; patients share a deviation, which a model-based interval would not see
    rng, covered, runs = np.random.default_rng(3), 0, 1000
    for _ in range(runs):
        patient = np.repeat(np.arange(120), 3)
        shared = rng.random(120)[patient] < 0.5
        risk = np.full(360, 0.3)
        label = np.where(shared, (rng.random(120) < 0.3)[patient], rng.random(360) < 0.3).astype(int)
        interval = in_the_large_interval(label, risk, patient)
        assert interval is not None and interval.low is not None and interval.high is not None
        covered += interval.low <= 0.0 <= interval.high
    assert 0.93 <= covered / runs <= 0.97
