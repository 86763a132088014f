"""One HTML file with everything a reader needs to judge the model; it loads nothing from anywhere.

Text and layout live in `templates/report.html.j2`; this module turns tables and figures into what it shows.
"""

import base64
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from hyperct_pipeline import __version__
from hyperct_pipeline.evaluation import report_tables as tables
from hyperct_pipeline.evaluation.assessment import MACRO, MACRO_RULE, AssessConfig

TEMPLATES = Path(__file__).parent / "templates"
SOFTWARE = ("torch", "timm", "SimpleITK", "pydicom", "numpy", "scipy", "pandas", "kedro", "mlflow")
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
)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ReportConfig:
    """What only people know about this run."""

    title: str = "HyperCT: evaluation report"
    data_description: str = ""  # one or two sentences: which patients, which scans, from where
    limitations: tuple[str, ...] = ()  # added to those the software can state
    decision_group: str = "cardiac"  # task group in the table of net benefits


@plain_dataclass(frozen=True)
class Evidence:
    """Tables that the report shows; frames as the pipelines wrote them."""

    study_index: pd.DataFrame
    cohort_flow: pd.DataFrame
    harmonization_report: pd.DataFrame
    training_history: Mapping[str, Mapping[str, object]]
    calibration: Mapping[str, Mapping[str, Any]]  # as `recalibration.fit_calibration` made it
    metrics_full: pd.DataFrame
    metrics: pd.DataFrame
    decision_curves: pd.DataFrame
    lora_pca: pd.DataFrame
    model_card: Mapping[str, Any]


@plain_dataclass(frozen=True)
class Pictures:
    """Figures as PNG bytes."""

    label_prevalence: bytes
    training_curves: bytes
    auroc: bytes
    calibration: bytes
    decision_curves: Mapping[str, bytes]  # cohort -> figure
    lora_pca: bytes
    saliency_overview: bytes


def render_report(
    evidence: Evidence, pictures: Pictures, names: Mapping[str, str], config: ReportConfig, assess: AssessConfig
) -> str:
    """The report as one HTML document; every text from data is escaped.

    Args:
        evidence: tables.
        pictures: figures.
        names: task -> display name, in the order of the tables.
        config: what only people know.
        assess: how the metrics were made.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["png"] = png_source
    return environment.get_template("report.html.j2").render(
        config=config,
        assess=assess,
        card=evidence.model_card,
        pictures=pictures,
        tables=report_tables_of(evidence, names, config, assess),
        summary=headline(evidence.metrics_full, assess.level_text),
        undefined_tasks=undefined_tasks(evidence.metrics, names),
        macro_rule=MACRO_RULE,
        limitations=[*limitations_of(evidence, assess.split), *config.limitations],
        references=REFERENCES,
        version=__version__,
        software=software_versions(),
        n_studies=len(evidence.study_index),
        n_patients=evidence.study_index["patient_key"].nunique(),
    )


def png_source(content: bytes) -> Markup:
    """PNG bytes as the source of an image element."""
    return Markup("data:image/png;base64,") + Markup(base64.b64encode(content).decode())


def report_tables_of(
    evidence: Evidence, names: Mapping[str, str], config: ReportConfig, assess: AssessConfig
) -> dict[str, tables.Table]:
    """Every table of the report by the name the template uses."""
    methods = {task: fitted["method"] for task, fitted in evidence.calibration.items()}
    card = {key: value for key, value in evidence.model_card.items() if key != "licence_notice"}
    return {
        "cohorts": tables.cohort_table(evidence.study_index),
        "flow": tables.frame_table(evidence.cohort_flow, "Studies at each step"),
        "prevalence": tables.prevalence_table(evidence.study_index, names),
        "harmonization": tables.frame_table(evidence.harmonization_report, "Harmonization of the label tables"),
        "history": tables.history_table(evidence.training_history),
        "macro": tables.macro_table(evidence.metrics_full, assess.level_text),
        "discrimination": tables.discrimination_table(evidence.metrics_full, names, assess),
        "by_cohort": tables.cohort_auroc_table(evidence.metrics_full, names, assess.level_text),
        "thresholds": tables.threshold_table(evidence.metrics_full, names, assess.level_text),
        "calibration": tables.calibration_table(evidence.metrics_full, methods, names, assess.split),
        "decision": tables.decision_report_table(evidence.decision_curves, names, config.decision_group),
        "lora": tables.lora_table(evidence.lora_pca, names),
        "card": tables.facts_table(card, "Model card"),
    }


def headline(metrics_full: pd.DataFrame, level: str) -> list[Sequence[str]]:
    """Mean AUROC of each task group over all cohorts: group, value with interval, tasks."""
    return [row[1:] for row in tables.macro_table(metrics_full, level).rows if row[0] == "all cohorts"]


def undefined_tasks(metrics: pd.DataFrame, names: Mapping[str, str]) -> list[tuple[str, str]]:
    """Tasks without an AUROC and why."""
    rows = _areas(metrics)
    rows = rows[rows["value"].isna()]
    return [(names[str(row["task"])], tables.STATUS_TEXT[row["status"]]) for row in rows.to_dict("records")]


def _areas(metrics: pd.DataFrame) -> pd.DataFrame:
    """The AUROC rows of tasks; the group means are no tasks."""
    return metrics[(metrics["metric"] == "auc") & ~metrics["task"].isin(MACRO.values())]


def limitations_of(evidence: Evidence, split: str) -> list[str]:
    """What the software itself can say against the numbers."""
    area = _areas(evidence.metrics)
    few, none = int((area["status"] == "low_count").sum()), int(area["value"].isna().sum())
    found = [
        f"{few} of {len(area)} tasks have fewer than 10 positives or negatives in the {split} split, and {none} "
        "have no defined AUROC; their numbers carry little weight.",
        "Echo-derived labels exist only for patients who had an echocardiogram: prevalence and net benefit are "
        "those of referred patients, not of everyone scanned.",
        "Several cardiac labels share measurements (for example left atrial volume), so their results are not "
        "independent of each other.",
        "Saliency maps show what the model used. They are no segmentation and no proof of a finding.",
    ]
    if evidence.model_card.get("backbone_weights") == "random":
        found.insert(
            0,
            "The backbone's weights are random, not pre-trained: this run shows that the pipeline works; its "
            "numbers say nothing about the published method.",
        )
    return found


def software_versions() -> str:
    """Versions of what produced the numbers, in one line."""
    parts = [f"{name} {version(name)}" for name in SOFTWARE]
    return ", ".join([f"Python {platform.python_version()}", *parts])
