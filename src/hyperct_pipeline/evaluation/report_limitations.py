"""What the software itself can say against the numbers of a page."""

from markupsafe import Markup

from hyperct_pipeline.evaluation.assess_settings import AssessConfig
from hyperct_pipeline.evaluation.recalibration_effect import recalibration_effect
from hyperct_pipeline.evaluation.report_evidence import Assessment, ModelEvidence
from hyperct_pipeline.evaluation.report_metric_tables import task_areas

STATED_PREVALENCE = Markup(
    "<code>assess.stated_prevalence</code> adds net benefits at the prevalence of another population."
)
WILSON = "Wilson intervals take studies as independent; where patients have several studies they are too narrow."
RANDOM_WEIGHTS = (
    "The backbone's weights are random, not pre-trained: this run shows that the pipeline works; its numbers say "
    "nothing about the published method."
)
ECHO = Markup(
    "Echo-derived labels exist only for patients who had an echocardiogram: prevalence and net benefit are those of "
    "referred patients, not of everyone scanned. {}"
).format(STATED_PREVALENCE)
SHARED_MEASUREMENTS = (
    "Several cardiac labels share measurements (for example left atrial volume), so their results are not independent "
    "of each other."
)
SALIENCY = "Saliency maps show what the model used. They are no segmentation and no proof of a finding."
UNKNOWN_ORIGIN = (
    "This page knows a table of predictions and nothing else: how its labels were determined, and whether the model "
    "has seen these patients before, must be said by its author."
)
REFERRED = Markup(
    "Where a label exists only for patients who were sent to an examination, prevalence and net benefit are those of "
    "these patients. {}"
).format(STATED_PREVALENCE)


def report_limitations(model: ModelEvidence, assessment: Assessment) -> list[str]:
    """Those of the whole way from archive to model."""
    weights = [RANDOM_WEIGHTS] if model.card.get("backbone_weights") == "random" else []
    return [*weights, *_of_numbers(assessment), ECHO, SHARED_MEASUREMENTS, WILSON, SALIENCY]


def assessment_limitations(assessment: Assessment) -> list[str]:
    """Those of an assessment of which nothing but the table is known."""
    return [*_of_numbers(assessment), UNKNOWN_ORIGIN, REFERRED, WILSON]


def _of_numbers(assessment: Assessment) -> list[str]:
    """What is against the numbers of this assessment, if anything is."""
    assess = assessment.settings
    found = [few_studies(assessment, assess), harm_of_recalibration(assessment, assess)]
    return [text for text in found if text]


def harm_of_recalibration(assessment: Assessment, assess: AssessConfig) -> str:
    """What recalibration did, where it made any task worse; empty elsewhere."""
    effect = recalibration_effect(assessment.metrics_full, assess)
    if effect is None or not (effect.worse or effect.off_after > effect.off_before):
        return ""
    on_the_whole = " More tasks got worse than better." if effect.worse > effect.better else ""
    return effect.sentence(assessment.applied_calibration) + on_the_whole


def few_studies(assessment: Assessment, assess: AssessConfig) -> str:
    """How many tasks rest on few studies of a class, or have no AUROC; empty where there is none."""
    area = task_areas(assessment.metrics_full, assess)
    few, none = int((area["status"] == "low_count").sum()), int(area["value"].isna().sum())
    found = (
        [f"{few} of {len(area)} tasks have fewer than 10 positives or negatives in the {assessment.part}"]
        if few
        else []
    )
    found += [f"{none} of {len(area)} have no defined AUROC"] if none else []
    return f"{', and '.join(found)}; their numbers carry little weight." if found else ""
