"""The metrics tables."""

import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter, ValidationError
from scipy.special import expit, logit
from scipy.stats import binomtest, norm
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from hyperct_pipeline.evaluation.assess_settings import AssessConfig, RecalibrationConfig
from hyperct_pipeline.evaluation.assessed_table import assessed_table
from hyperct_pipeline.evaluation.assessment import MACRO_RULE, WITH_INTERVAL, assess, primary_metrics
from hyperct_pipeline.evaluation.metric_cells import REASONS
from hyperct_pipeline.evaluation.prediction_checks import checked_predictions
from hyperct_pipeline.evaluation.recalibration import fit_calibration
from hyperct_pipeline.evaluation.task_rows import groups_of
from hyperct_pipeline.metrics.bootstrap import patient_counts

GROUPS = {"nodule": "radiological", "effusion": "radiological", "low_lvef": "cardiac", "dilated": "cardiac"}
CONFIG = AssessConfig(bootstrap_draws=100)


def metrics_of(table: pd.DataFrame, groups: dict[str, str], config: AssessConfig) -> pd.DataFrame:
    return assess(table, groups_of(table, groups), config).metrics


@pytest.fixture
def full(assessed: pd.DataFrame) -> pd.DataFrame:
    return metrics_of(assessed, GROUPS, CONFIG)


def _cell(frame: pd.DataFrame, task: str, metric: str, cohort: str = "all") -> "pd.Series[float]":
    rows = frame[(frame["task"] == task) & (frame["metric"] == metric) & (frame["cohort"] == cohort)]
    assert len(rows) == 1
    return rows.iloc[0]


def test_values_equal_sklearn_in_every_cohort(assessed: pd.DataFrame, full: pd.DataFrame) -> None:
    for cohort in ("all", "internal_test", "prospective_a"):
        rows = assessed[(assessed["task"] == "nodule") & assessed["label"].notna()]
        rows = rows if cohort == "all" else rows[rows["cohort"] == cohort]
        label = rows["label"].to_numpy(dtype=int)
        auc = _cell(full, "nodule", "auc", cohort)
        assert auc["value"] == pytest.approx(roc_auc_score(label, rows["probability"]))
        assert auc["ci_low"] < auc["value"] < auc["ci_high"]
        assert (auc["n"], auc["n_pos"]) == (len(rows), label.sum())
        assert _cell(full, "nodule", "brier", cohort)["value"] == pytest.approx(
            brier_score_loss(label, rows["probability"])
        )
    assert _cell(full, "nodule", "auc")["n_unknown"] == 5
    assert _cell(full, "nodule", "auc")["status"] == "ok"


def test_undefined_is_null_with_its_status(full: pd.DataFrame) -> None:
    one_class = _cell(full, "low_lvef", "auc")
    assert (one_class["status"], one_class["n_pos"], one_class["n_neg"]) == ("one_class", 0, 100)
    undefined = ("auc", "auprc", "calibration_slope", "calibration_in_the_large", "sens_at_spec_90")
    for metric in undefined:
        assert np.isnan(_cell(full, "low_lvef", metric)["value"])
        assert np.isnan(_cell(full, "dilated", metric)["value"])
    assert _cell(full, "dilated", "brier")["status"] == "no_labels"
    assert _cell(full, "dilated", "auc")["n_unknown"] == 100
    assert _cell(full, "effusion", "auc")["status"] == "low_count"


def test_whatever_is_missing_says_why(assessed: pd.DataFrame, full: pd.DataFrame) -> None:
    hard = assessed.assign(probability=(assessed["probability"] > 0.5).astype(float), threshold_youden=2 / 3)
    flat = assessed.assign(probability_calibrated=0.3, threshold_youden=0.0)
    for table in (full, metrics_of(hard, GROUPS, CONFIG), metrics_of(flat, GROUPS, CONFIG)):
        missing = table[table["value"].isna()]
        assert set(missing["ci_method"]) <= set(REASONS)  # each has its words in the report
        shared = table[table["metric"].isin(WITH_INTERVAL) & table["ci_low"].isna()]
        assert shared["ci_method"].str.startswith("undefined_").all()
        primary = primary_metrics(table, "hyperct")
        assert primary.loc[primary["value"].isna(), "note"].notna().all()
        assert primary.loc[primary["value"].notna() & ~primary["task"].str.startswith("macro_"), "note"].isna().all()
    hard_metrics = metrics_of(hard, GROUPS, CONFIG)
    for metric in ("calibration_slope", "calibration_intercept", "calibration_in_the_large"):
        assert _cell(hard_metrics, "nodule", metric)["ci_method"] == "undefined_certain_risks"
    flat_metrics = metrics_of(flat, GROUPS, CONFIG)
    assert _cell(flat_metrics, "nodule", "calibration_slope_recalibrated")["ci_method"] == "undefined_constant_risk"
    assert _cell(full, "low_lvef", "auc")["ci_method"] == "undefined_one_class"
    assert _cell(full, "dilated", "brier")["ci_method"] == "undefined_no_labels"
    assert _cell(full, "macro_cardiac", "auc")["ci_method"] == "undefined_no_tasks"


def test_recalibrated_metrics_only_where_there_is_a_calibrator(full: pd.DataFrame) -> None:
    tasks = set(full.loc[full["metric"] == "brier_recalibrated", "task"])
    assert tasks == {"nodule", "effusion"}


def test_macro_is_the_mean_of_defined_tasks(full: pd.DataFrame) -> None:
    parts = [_cell(full, task, "auc")["value"] for task in ("nodule", "effusion")]
    macro = _cell(full, "macro_radiological", "auc")
    assert macro["value"] == pytest.approx(np.mean(parts))
    assert macro["ci_low"] < macro["value"] < macro["ci_high"]
    assert _cell(full, "macro_all", "n_tasks_defined")["value"] == 2
    assert _cell(full, "macro_all", "n_tasks")["value"] == 4
    cardiac = _cell(full, "macro_cardiac", "auc")
    assert np.isnan(cardiac["value"])
    assert cardiac["status"] == "no_labels"


def test_primary_metrics_are_one_row_per_task_and_metric(full: pd.DataFrame) -> None:
    primary = primary_metrics(full, "hyperct")
    assert not primary.duplicated(["task", "metric"]).any()
    macro = ["macro_radiological", "macro_cardiac", "macro_all"]
    assert list(dict.fromkeys(primary["task"])) == [*GROUPS, *macro]
    assert list(primary.columns) == ["task", "metric", "value", "status", "note"]
    value = primary.set_index(["task", "metric"])["value"]
    areas = [value[task, "auc"] for task in ("nodule", "effusion")]
    assert value["macro_all", "auc"] == pytest.approx(np.mean(areas))
    assert value["macro_all", "auc_ci_low"] == _cell(full, "macro_all", "auc")["ci_low"]
    assert np.isnan(value["macro_cardiac", "auc"])
    assert (value["macro_all", "n_tasks_defined"], value["macro_all", "n_patients"]) == (2, 50)
    assert ("macro_all", "n_pos") not in value.index
    nodule = primary[primary["task"] == "nodule"].set_index("metric")["value"]
    source = _cell(full, "nodule", "auc")
    assert nodule["auc_ci_low"] == source["ci_low"]
    assert nodule["auc_ci_high"] == source["ci_high"]
    counts = {key: int(nodule[key]) for key in ("n", "n_pos", "n_neg", "n_unknown", "n_patients")}
    assert counts == {key: int(source[key]) for key in counts}
    expected = {"auc", "auprc", "brier", "calibration_slope", "calibration_intercept", "prevalence"}
    expected |= {"calibration_in_the_large", "oe_ratio", "sens_at_spec_90", "sens_at_spec_95"}
    assert expected <= set(nodule.index)


def test_a_task_outside_the_catalogue_is_assessed_as_other(assessed: pd.DataFrame, full: pd.DataFrame) -> None:
    known = {task: group for task, group in GROUPS.items() if task != "nodule"}
    table = metrics_of(assessed, known, CONFIG)
    assert set(table.loc[table["task"] == "nodule", "group"]) == {"other"}
    assert _cell(table, "nodule", "auc")["value"] == _cell(full, "nodule", "auc")["value"]
    # it counts in the mean of all tasks and in that of no group
    assert _cell(table, "macro_all", "auc")["value"] == _cell(full, "macro_all", "auc")["value"]
    assert _cell(table, "macro_radiological", "n_tasks_defined")["value"] == 1


def test_same_table_same_numbers(assessed: pd.DataFrame, full: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(metrics_of(assessed, GROUPS, CONFIG), full)


def test_limits_that_are_undefined_stay_numbers_that_are_missing(assessed: pd.DataFrame) -> None:
    constant = assessed[assessed["task"] == "nodule"].assign(probability=0.25)
    table = metrics_of(constant, GROUPS, CONFIG)
    for cohort in ("all", "internal_test"):
        auc = _cell(table, "nodule", "auc", cohort)
        assert auc["value"] == 0.5
        assert np.isnan(auc["ci_low"]) and np.isnan(auc["ci_high"])
        assert (auc["ci_method"], auc["status"]) == ("undefined_variance", "ok")
    assert table["ci_low"].dtype == np.float64
    primary = primary_metrics(table, "hyperct").set_index(["task", "metric"])["value"]
    assert np.isnan(primary["nodule", "auc_ci_low"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"thresholds_percent": [80, 5]},
        {"thresholds_percent": [20, 20]},
        {"thresholds_percent": [0, 80]},
        {"thresholds_percent": [5, 100]},
        {"confidence_level": 0.0},
        {"confidence_level": 1.0},
        {"bootstrap_draws": 0},
        {"reliability_bins": 1},
    ],
)
def test_a_configuration_that_could_only_fail_later_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong)) if "thresholds_percent" in wrong else None):
        TypeAdapter(AssessConfig).validate_python(wrong)


def test_configurations_at_the_limits_are_accepted() -> None:
    limits = {"thresholds_percent": [1, 99], "confidence_level": 0.5, "bootstrap_draws": 1, "reliability_bins": 2}
    assert TypeAdapter(AssessConfig).validate_python(limits).thresholds_percent == (1, 99)
    assert AssessConfig(confidence_level=0.975).level_text == "97.5 %"


def _fitted(predictions: pd.DataFrame) -> dict[str, dict[str, float]]:
    validation = predictions[predictions["split"] == "validation"]
    tasks: dict[str, dict[str, float]] = fit_calibration(validation, RecalibrationConfig())["tasks"]
    return tasks


def test_calls_at_the_validation_threshold(predictions: pd.DataFrame, full: pd.DataFrame) -> None:
    threshold = _fitted(predictions)["nodule"]["threshold_youden"]
    rows = predictions[(predictions["split"] == "test") & (predictions["task"] == "nodule")]
    rows = rows[rows["label"].notna()]
    for cohort in ("all", "internal_test", "prospective_a"):
        part = rows if cohort == "all" else rows[rows["cohort"] == cohort]
        called, positive = part["probability"] >= threshold, part["label"] == 1
        true, right = int((called & positive).sum()), int((~called & ~positive).sum())
        expected = {
            "sensitivity": (true, int(positive.sum())),
            "specificity": (right, int((~positive).sum())),
            "ppv": (true, int(called.sum())),
            "npv": (right, int((~called).sum())),
        }
        for metric, (count, total) in expected.items():
            cell = _cell(full, "nodule", metric, cohort)
            limits = binomtest(count, total).proportion_ci(method="wilson")
            assert cell["value"] == count / total
            assert (cell["ci_low"], cell["ci_high"]) == pytest.approx((limits.low, limits.high), abs=1e-12)
            assert (cell["ci_method"], cell["status"]) == ("wilson", "ok")
        assert _cell(full, "nodule", "threshold_youden", cohort)["value"] == threshold


def test_shares_of_nobody_and_without_a_threshold_are_null(assessed: pd.DataFrame, full: pd.DataFrame) -> None:
    for metric in ("sensitivity", "specificity", "ppv", "npv"):
        cell = _cell(full, "low_lvef", metric)  # one class on validation
        assert np.isnan(cell["value"]) and np.isnan(cell["ci_low"])
        assert (cell["ci_method"], cell["status"]) == ("undefined_no_threshold", "one_class")
    given = metrics_of(assessed.assign(threshold_youden=1.0), GROUPS, CONFIG)
    reasons = {task: {m: _cell(given, task, m)["ci_method"] for m in ("sensitivity", "ppv", "npv")} for task in GROUPS}
    assert reasons["nodule"] == {"sensitivity": "wilson", "ppv": "undefined_none_called", "npv": "wilson"}
    assert reasons["low_lvef"] == {
        "sensitivity": "undefined_no_positives",
        "ppv": "undefined_none_called",
        "npv": "wilson",
    }
    assert set(reasons["dilated"].values()) == {"undefined_no_labels"}
    assert _cell(given, "nodule", "sensitivity")["value"] == 0.0
    assert _cell(given, "low_lvef", "npv")["value"] == 1.0
    everybody = metrics_of(assessed.assign(threshold_youden=0.0), GROUPS, CONFIG)
    assert _cell(everybody, "nodule", "npv")["ci_method"] == "undefined_all_called"
    assert _cell(everybody, "nodule", "sensitivity")["value"] == 1.0


def test_every_model_of_the_table_is_assessed_on_the_same_draws(assessed: pd.DataFrame, full: pd.DataFrame) -> None:
    table = metrics_of(assessed.assign(probability_copy=assessed["probability"]), GROUPS, CONFIG)
    copy, own = (table[table["model"] == model].reset_index(drop=True) for model in ("copy", "hyperct"))
    pd.testing.assert_frame_equal(own, full.reset_index(drop=True))
    shared = own[own["metric"].isin(copy["metric"].unique())].reset_index(drop=True)
    pd.testing.assert_frame_equal(copy.assign(model="hyperct"), shared)
    assert not set(copy["metric"]) & {"sensitivity", "threshold_youden", "brier_recalibrated"}


def test_resampled_limits_come_from_draws_of_patients(assessed: pd.DataFrame, full: pd.DataFrame) -> None:
    rows = assessed[(assessed["task"] == "nodule")]
    patients = pd.factorize(assessed["patient_key"])[1]
    counts = patient_counts(len(patients), CONFIG.bootstrap_draws, np.random.default_rng(CONFIG.seed))
    known = rows[rows["label"].notna()]
    weight = counts[patients.get_indexer(known["patient_key"])]
    label, risk = known["label"].to_numpy(dtype=int), known["probability"].to_numpy()
    precision, brier = (
        np.array([score(np.repeat(label, w), np.repeat(risk, w)) for w in weight.T])
        for score in (average_precision_score, brier_score_loss)
    )
    cell = _cell(full, "nodule", "brier")
    np.testing.assert_allclose(cell[["ci_low", "ci_high"]].astype(float), np.quantile(brier, [0.025, 0.975]))
    assert cell["ci_method"] == "patient_bootstrap"
    cell = _cell(full, "nodule", "auprc")
    value = average_precision_score(label, risk)
    half = norm.ppf(0.975) * precision.std(ddof=1) / (value * (1 - value))
    expected = expit(logit(value) + np.array([-half, half]))
    np.testing.assert_allclose(cell[["ci_low", "ci_high"]].astype(float), expected)
    assert cell["ci_method"] == "patient_bootstrap_logit"


def test_an_average_precision_lies_in_the_middle_of_its_limits() -> None:
    # without information, and with several tasks, percentiles of the draws lie above the value altogether
    rng = np.random.default_rng(0)
    n, groups = 50, {f"t{k:02d}": "radiological" for k in range(18)}
    keys = {"study_key": [f"s{k}" for k in range(n)], "patient_key": [f"p{k}" for k in range(n)]}
    frames = [
        pd.DataFrame(keys | {"task": task, "label": rng.random(n) < 0.3, "probability": rng.random(n)})
        for task in groups
    ]
    table = metrics_of(checked_predictions(pd.concat(frames, ignore_index=True)), groups, CONFIG)
    for task in ("t00", "macro_radiological"):
        cell = _cell(table, task, "auprc")
        value, low, high = (float(logit(cell[name])) for name in ("value", "ci_low", "ci_high"))
        assert value - low == pytest.approx(high - value)
    macro = _cell(table, "macro_radiological", "auprc")
    expected = 0.3 + 0.045  # of samples of 50, a little above the prevalence
    assert macro["ci_low"] < expected < macro["ci_high"]


def test_calls_at_the_target_sensitivity_have_their_own_names(predictions: pd.DataFrame, full: pd.DataFrame) -> None:
    threshold = _fitted(predictions)["nodule"]["threshold_target_sensitivity"]
    rows = predictions[(predictions["split"] == "test") & (predictions["task"] == "nodule")].dropna(subset="label")
    called, positive = rows["probability"] >= threshold, rows["label"] == 1
    true, called_n, positive_n = (int(of.sum()) for of in (called & positive, called, positive))
    assert _cell(full, "nodule", "threshold_target_sensitivity")["value"] == threshold
    assert _cell(full, "nodule", "sensitivity_at_target")["value"] == true / positive_n
    assert _cell(full, "nodule", "f1_at_target")["value"] == pytest.approx(2 * true / (called_n + positive_n))


def test_one_patient_gives_values_without_limits(assessed: pd.DataFrame) -> None:
    table = metrics_of(assessed.assign(patient_key="p", cohort=None), GROUPS, CONFIG)
    for task in ("nodule", "macro_all"):
        for metric in ("auc", "auprc", "brier"):
            cell = _cell(table, task, metric)
            assert np.isfinite(cell["value"]) and np.isnan(cell["ci_low"]) and np.isnan(cell["ci_high"])
    assert set(table["cohort"]) == {"all"}


def test_a_rare_task_that_resamples_lack_does_not_shift_the_mean() -> None:
    # one positive, ranked first: a third of the draws lacks it, and the mean over the others would fall by 0.25
    rng, n = np.random.default_rng(0), 200
    keys = {"study_key": [f"s{k}" for k in range(n)], "patient_key": [f"p{k}" for k in range(n)]}
    rare = np.arange(n) == 0
    frames = [
        pd.DataFrame(keys | {"task": "a", "label": rng.random(n) < 0.4, "probability": rng.random(n)}),
        pd.DataFrame(keys | {"task": "b", "label": rare, "probability": np.where(rare, 0.99, 0.5 * rng.random(n))}),
    ]
    config = AssessConfig(bootstrap_draws=400)
    groups = dict.fromkeys("ab", "cardiac")
    table = metrics_of(checked_predictions(pd.concat(frames, ignore_index=True)), groups, config)
    macro, common = (_cell(table, task, "auc") for task in ("macro_cardiac", "a"))
    assert macro["value"] == pytest.approx((common["value"] + 1.0) / 2)
    # no wider than the ordinary task alone makes it
    assert macro["ci_high"] - macro["ci_low"] < 1.1 * (common["ci_high"] - common["ci_low"])
    assert macro["ci_low"] > 0.65
    share = _cell(table, "macro_cardiac", "share_of_draws_with_all_tasks")["value"]
    assert share == pytest.approx(1 - (1 - 1 / n) ** n, abs=0.08)


def test_the_rule_for_undefined_tasks_stands_beside_the_mean(full: pd.DataFrame) -> None:
    primary = primary_metrics(full, "hyperct")
    assert set(primary.loc[primary["task"].str.startswith("macro_"), "note"]) == {MACRO_RULE}
    parts = [_cell(full, task, "brier")["value"] for task in ("nodule", "effusion")]
    assert _cell(full, "macro_radiological", "brier")["value"] == pytest.approx(np.mean(parts))


def test_limits_have_rows_also_where_no_task_has_any(assessed: pd.DataFrame) -> None:
    lone = assessed[assessed["task"] == "low_lvef"]
    primary = primary_metrics(metrics_of(lone, GROUPS, CONFIG), "hyperct").set_index(["task", "metric"])["value"]
    for metric in ("auc", "auc_ci_low", "auc_ci_high", "calibration_slope_ci_low", "sensitivity_ci_high"):
        assert np.isnan(primary["low_lvef", metric])
    assert (primary["low_lvef", "n_pos"], primary["low_lvef", "n_neg"]) == (0, 100)


def test_no_number_depends_on_the_order_of_the_rows(predictions: pd.DataFrame) -> None:
    config = AssessConfig(bootstrap_draws=50)
    tables = []
    for raw in (predictions, predictions.sample(frac=1.0, random_state=3).reset_index(drop=True)):
        rows = assessed_table(raw, None, GROUPS, config, RecalibrationConfig()).rows
        tables.append(assess(rows, groups_of(rows, GROUPS), config))
    for first, second in zip(*tables, strict=True):
        keys = [name for name in ("model", "cohort", "task", "metric", "threshold") if name in first]
        pd.testing.assert_frame_equal(
            *(table.sort_values(keys, ignore_index=True) for table in (first, second)), rtol=1e-12, atol=1e-14
        )
