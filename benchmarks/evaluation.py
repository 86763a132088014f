"""Seconds and memory of a whole assessment, and how often sklearn with a loop over draws would take as long.

Run `python benchmarks/evaluation.py [--studies 50000] [--tasks 25] [--draws 1000]`. One process makes a table of
predictions (1.4 studies per patient, prevalence 2 to 40 %, a tenth of the labels unknown) and assesses it as the
`assess` pipeline does: checks, AUROC, AUPRC, Brier, sensitivities, macro means and net benefit with patient-clustered
bootstrap limits, and everything else by analytic or sandwich intervals.

The rival computes the same resampled numbers one draw after the other: `sklearn.metrics.roc_auc_score`,
`average_precision_score` and `brier_score_loss` with the draw's counts as sample weights, and net benefit by a loop
over thresholds. It is too slow to run in full: `--rival-draws` draws of `--rival-tasks` tasks are timed and the rest is
EXTRAPOLATED in proportion. Its numbers must equal ours on these draws.
"""

import argparse
import resource
import time

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from hyperct_pipeline.evaluation.assess_settings import ALL, AssessConfig
from hyperct_pipeline.evaluation.assessment import assess
from hyperct_pipeline.evaluation.part_draws import score_draws
from hyperct_pipeline.evaluation.prediction_checks import checked_predictions
from hyperct_pipeline.evaluation.task_rows import part_of
from hyperct_pipeline.metrics.bootstrap import patient_counts
from hyperct_pipeline.metrics.decision_curves import percent_thresholds


def table(n_studies: int, n_tasks: int) -> pd.DataFrame:
    """One row per study and task."""
    rng = np.random.default_rng(0)
    patient = rng.integers(0, int(n_studies / 1.4), n_studies)
    study_key = np.array([f"s{k:06d}" for k in range(n_studies)])
    patient_key = np.array([f"p{k:06d}" for k in patient])
    frames = []
    for task, prevalence in enumerate(np.linspace(0.02, 0.4, n_tasks)):
        logit = rng.normal(np.log(prevalence / (1 - prevalence)), 1.0, n_studies)
        label = np.where(rng.random(n_studies) < 0.1, np.nan, rng.random(n_studies) < expit(logit))
        keys = {"study_key": study_key, "patient_key": patient_key, "task": f"task_{task:02d}"}
        frames.append(pd.DataFrame(keys | {"label": label, "probability": expit(0.8 * logit)}))
    return pd.concat(frames, ignore_index=True)


def rival_draw(
    label: NDArray[np.int8], risk: NDArray[np.float64], weight: NDArray[np.int32], thresholds: NDArray[np.float64]
) -> tuple[float, float, float, list[float]]:
    """AUROC, AUPRC, Brier and net benefits of one draw."""
    net_benefit = []
    for threshold in thresholds:
        treated = risk >= threshold
        true, false = weight[treated & (label == 1)].sum(), weight[treated & (label == 0)].sum()
        net_benefit.append(float((true - false * threshold / (1 - threshold)) / weight.sum()))
    return (
        float(roc_auc_score(label, risk, sample_weight=weight)),
        float(average_precision_score(label, risk, sample_weight=weight)),
        float(brier_score_loss(label, risk, sample_weight=weight)),
        net_benefit,
    )


def rival_seconds(predictions: pd.DataFrame, groups: dict[str, str], config: AssessConfig, n_tasks: int) -> float:
    """Seconds of one draw of one task; refuses to go on where the two ways disagree."""
    part = part_of(predictions, ALL, list(groups)[:: max(len(groups) // n_tasks, 1)][:n_tasks])
    counts = patient_counts(part.n_patients, config.bootstrap_draws, np.random.default_rng(0))
    thresholds, seconds = percent_thresholds(*config.thresholds_percent), 0.0
    for task, known in part.tasks.items():
        ours = score_draws(known, known.probability, counts, task, config)
        for draw in range(config.bootstrap_draws):
            weight = counts[known.patient, draw]
            started = time.perf_counter()
            auc, auprc, brier, net_benefit = rival_draw(known.label, known.probability, weight, thresholds)
            seconds += time.perf_counter() - started
            metrics = [ours.metrics[name][draw] for name in ("auc", "auprc", "brier")]
            np.testing.assert_allclose(metrics, [auc, auprc, brier], rtol=1e-9)
            np.testing.assert_allclose(ours.net_benefit[draw], net_benefit, atol=1e-12)
    return seconds / len(part.tasks) / config.bootstrap_draws


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=50_000)
    parser.add_argument("--tasks", type=int, default=25)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--rival-draws", type=int, default=3)
    parser.add_argument("--rival-tasks", type=int, default=3)
    arguments = parser.parse_args()
    raw = table(arguments.studies, arguments.tasks)
    groups = dict.fromkeys(raw["task"].unique(), "radiological")
    started, processor = time.perf_counter(), time.process_time()
    checked = checked_predictions(raw)
    seconds_checks = time.perf_counter() - started
    assess(checked, groups, AssessConfig(bootstrap_draws=arguments.draws))
    seconds, processor = time.perf_counter() - started, time.process_time() - processor
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    times = f"{seconds:.1f} s ({seconds_checks:.1f} s of them checks), {processor:.1f} s of processor time"
    print(f"ours: {times}, peak memory {memory:.2f} GB")
    few = AssessConfig(bootstrap_draws=arguments.rival_draws)
    one = rival_seconds(checked, groups, few, arguments.rival_tasks)
    whole = one * arguments.draws * arguments.tasks
    print(f"sklearn and a loop: {one * 1000:.0f} ms per draw and task, EXTRAPOLATED to {whole:.0f} s")
    print(f"ratio: {whole / seconds:.0f}")


if __name__ == "__main__":
    main()
