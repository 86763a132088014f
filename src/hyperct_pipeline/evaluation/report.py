"""One HTML file with everything a reader needs to judge the model; it loads nothing from anywhere.

Text and layout live in `templates/report.html.j2`; this module turns tables and figures into what it shows.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from hyperct_pipeline.evaluation import report_data_tables as data_tables
from hyperct_pipeline.evaluation import report_decision_tables as decision_tables
from hyperct_pipeline.evaluation import report_metric_tables as metric_tables
from hyperct_pipeline.evaluation.assess_settings import ALL, AssessConfig, settings_of
from hyperct_pipeline.evaluation.assessed_table import OF_PREDICTIONS
from hyperct_pipeline.evaluation.assessment import MACRO, MACRO_RULE
from hyperct_pipeline.evaluation.file_names import file_names
from hyperct_pipeline.evaluation.report_evidence import Evidence, Pictures
from hyperct_pipeline.evaluation.report_pictures import picture_element
from hyperct_pipeline.evaluation.report_tables import STATUS_TEXT, Table, frame_table
from hyperct_pipeline.evaluation.reporting_checklist import checklist_table
from hyperct_pipeline.evaluation.run_facts import RunFacts, notices_of, refuse_mixed_models
from hyperct_pipeline.offline_html import environment

UNKNOWN_TARGET = "target sensitivity, which the table does not say"
TEMPLATES = Path(__file__).parent / "templates"
REFERENCES = (
    "HyperCT: arXiv:2604.03224 (2026). The method: a hypernetwork that emits low-rank adapters per task.",
    "Hu EJ et al. LoRA: low-rank adaptation of large language models. ICLR 2022. arXiv:2106.09685.",
    "Siméoni O et al. DINOv3. arXiv:2508.10104 (2025).",
    "DeLong ER, DeLong DM, Clarke-Pearson DL. Biometrics 1988;44:837-845. AUROC variance.",
    "Obuchowski NA. Biometrics 1997;53:567-578. AUROC of clustered data.",
    "Van Calster B et al. Calibration: the Achilles heel of predictive analytics. BMC Med 2019;17:230.",
    "Platt J. Probabilistic outputs for support vector machines. Advances in large margin classifiers 1999.",
    "Vickers AJ, Elkin EB. Decision curve analysis. Med Decis Making 2006;26:565-574.",
    "Selvaraju RR et al. Grad-CAM. ICCV 2017. arXiv:1610.02391.",
    "Wilson EB. Probable inference, the law of succession, and statistical inference. JASA 1927;22:209-212.",
    "Liang KY, Zeger SL. Longitudinal data analysis using generalized linear models. Biometrika 1986;73:13-22.",
    "Sadatsafavi M et al. Value-of-information analysis for external validation. Med Decis Making 2022;42:661-671.",
    "Holm S. A simple sequentially rejective multiple test procedure. Scand J Stat 1979;6:65-70.",
    "Benjamini Y, Hochberg Y. Controlling the false discovery rate. J R Stat Soc B 1995;57:289-300.",
    "Anderson MJ. A new method for non-parametric multivariate analysis of variance. Austral Ecol 2001;26:32-46.",
    "Adebayo J et al. Sanity checks for saliency maps. NeurIPS 2018. arXiv:1810.03292.",
    "Collins GS et al. TRIPOD+AI statement. BMJ 2024;385:e078378.",
    "Tejani AS et al. Checklist for artificial intelligence in medical imaging (CLAIM): 2024 update. Radiol Artif "
    "Intell 2024;6:e240300.",
)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ReportConfig:
    """What only people know about this run."""

    title: str = "HyperCT: evaluation report"
    data_description: str = ""  # one or two sentences: which patients, which scans, from where
    limitations: tuple[str, ...] = ()  # added to those the software can state


def render_report(
    evidence: Evidence,
    pictures: Pictures,
    names: Mapping[str, str],
    config: ReportConfig,
    facts: RunFacts,
) -> str:
    """The report as one HTML document; every text from data is escaped.

    Args:
        evidence: tables.
        pictures: figures.
        names: task -> display name, of the model's and of the assessed tasks, in the order of the tables.
        config: what only people know.
        facts: when and with what the report is made.

    Raises:
        PackageError: the parts are of different models, or the facts of the assessment do not say how it was made.
    """
    assess = settings_of(evidence.assessment_facts)
    refuse_mixed_models(evidence.models)
    pages = environment(TEMPLATES)
    pages.globals["picture_element"] = picture_element
    first = next(iter(evidence.training_history.values()), {})
    settings = first.get("settings")
    return pages.get_template("report.html.j2").render(
        config=config,
        assess=assess,
        facts=facts,
        assessed=evidence.assessment_facts,
        part=evidence.part,
        has_calibration=bool(evidence.applied_calibration),
        brought=evidence.assessment_facts["recalibration"] == OF_PREDICTIONS,
        card=evidence.model_card,
        notices=notices_of(evidence.models, evidence.model_description, None if settings is None else str(settings)),
        pictures=pictures,
        cohort_names={file: name for name, file in file_names(evidence.assessment_facts["decision_cohorts"]).items()},
        rival_names={file: name for name, file in file_names(evidence.assessment_facts["rivals"]).items()},
        tables=report_tables_of(evidence, names, assess),
        card_tables=data_tables.card_tables(evidence.model_card, names),
        subgroup_tables=metric_tables.subgroup_auroc_tables(evidence.metrics_full, names, assess),
        summary=headline(evidence.metrics_full, assess),
        undefined_tasks=undefined_tasks(evidence.metrics_full, names, assess),
        macro_rule=MACRO_RULE,
        saliency_medians=saliency_medians(evidence.saliency_checks),
        limitations=[*limitations_of(evidence, assess), *config.limitations],
        references=REFERENCES,
        n_studies=len(evidence.study_index),
        n_patients=evidence.study_index["patient_key"].nunique(),
    )


def report_tables_of(evidence: Evidence, names: Mapping[str, str], assess: AssessConfig) -> dict[str, Table]:
    """Every table of the report by the name the template uses."""
    applied = evidence.applied_calibration
    methods = {task: fitted["method"] for task, fitted in applied["tasks"].items()} if applied else None
    full, part = evidence.metrics_full, evidence.part
    target = f"sensitivity of at least {applied['target_sensitivity']:.0%} there" if applied else UNKNOWN_TARGET
    return {
        "cohorts": data_tables.cohort_table(evidence.study_index),
        "flow": data_tables.flow_table(evidence.cohort_flow),
        "prevalence": data_tables.prevalence_table(evidence.study_index, names),
        "harmonization": frame_table(evidence.harmonization_report, "Harmonization of the label tables"),
        "history": data_tables.history_table(evidence.training_history),
        "macro": metric_tables.macro_table(full, assess),
        "discrimination": metric_tables.discrimination_table(full, names, assess, part),
        "by_cohort": metric_tables.cohort_auroc_table(full, names, assess),
        "youden": metric_tables.threshold_table(full, names, assess, "threshold_youden", "", "Youden"),
        "target": metric_tables.threshold_table(
            full, names, assess, "threshold_target_sensitivity", "_at_target", target
        ),
        "calibration": metric_tables.calibration_table(full, methods, names, assess, part),
        "recalibrated": metric_tables.calibration_table(full, methods, names, assess, part, "_recalibrated"),
        "decision": decision_tables.decision_table(evidence.decision_curves, names, assess),
        "value": decision_tables.decision_value_table(evidence.decision_curves, names, assess),
        "stated": decision_tables.stated_prevalence_table(evidence.decision_curves, names, assess),
        "comparison": decision_tables.comparison_report_table(evidence.model_comparison, names, assess),
        "transfer": decision_tables.transfer_report_table(evidence.negative_transfer, names, assess),
        "differences": decision_tables.difference_table(evidence.subgroup_differences, names, assess),
        "failures": decision_tables.failure_table(evidence.failure_cases, names),
        "separation": decision_tables.separation_report_table(evidence.lora_separation),
        "lora": decision_tables.lora_table(evidence.lora_pca, names),
        "saliency": decision_tables.saliency_check_table(evidence.saliency_checks, names),
        "checklist": checklist_table(),
    }


def headline(metrics_full: pd.DataFrame, assess: AssessConfig) -> list[Sequence[str]]:
    """Mean AUROC of each task group over all cohorts: group, value with interval, tasks."""
    rows = metric_tables.macro_table(metrics_full, assess).rows
    return [(row[1], row[2], row[5]) for row in rows if row[0] == "all cohorts"]


def undefined_tasks(
    metrics_full: pd.DataFrame, names: Mapping[str, str], assess: AssessConfig
) -> list[tuple[str, str]]:
    """Tasks without an AUROC and why."""
    rows = _areas(metrics_full, assess)
    rows = rows[rows["value"].isna()]
    return [(names[str(row["task"])], STATUS_TEXT[row["status"]]) for row in rows.to_dict("records")]


def _areas(metrics_full: pd.DataFrame, assess: AssessConfig) -> pd.DataFrame:
    """The AUROC rows of tasks over all cohorts; the group means are no tasks."""
    part = metric_tables.primary(metrics_full, assess)
    return part[(part["cohort"] == ALL) & (part["metric"] == "auc") & ~part["task"].isin(MACRO.values())]


def saliency_medians(checks: pd.DataFrame) -> list[str]:
    """Median rank correlations of the sanity checks, as text: untrained model, random model, other task."""
    columns = ("rank_correlation_untrained", "rank_correlation_random", "rank_correlation_swapped")
    medians = [checks[name].astype("float64").median() for name in columns]
    return ["undefined" if pd.isna(value) else f"{value:.2f}" for value in medians]


def limitations_of(evidence: Evidence, assess: AssessConfig) -> list[str]:
    """What the software itself can say against the numbers."""
    area = _areas(evidence.metrics_full, assess)
    few, none = int((area["status"] == "low_count").sum()), int(area["value"].isna().sum())
    found = [
        f"{few} of {len(area)} tasks have fewer than 10 positives or negatives in the {evidence.part}, and {none} "
        "have no defined AUROC; their numbers carry little weight.",
        "Echo-derived labels exist only for patients who had an echocardiogram: prevalence and net benefit are "
        "those of referred patients, not of everyone scanned. `assess.stated_prevalence` adds net benefits at the "
        "prevalence of another population.",
        "Several cardiac labels share measurements (for example left atrial volume), so their results are not "
        "independent of each other.",
        "Wilson intervals take studies as independent; where patients have several studies they are too narrow.",
        "Saliency maps show what the model used. They are no segmentation and no proof of a finding.",
    ]
    if evidence.model_card.get("backbone_weights") == "random":
        found.insert(
            0,
            "The backbone's weights are random, not pre-trained: this run shows that the pipeline works; its "
            "numbers say nothing about the published method.",
        )
    return found
