"""One HTML file with the assessment of a table of predictions; it claims nothing of the model behind the table."""

from collections.abc import Mapping

from hyperct_pipeline.evaluation.assessment_contents import assessment_contents
from hyperct_pipeline.evaluation.page_templates import page_frame, rendered
from hyperct_pipeline.evaluation.report_evidence import Assessment
from hyperct_pipeline.evaluation.report_limitations import assessment_limitations
from hyperct_pipeline.evaluation.report_references import OF_ASSESSMENT
from hyperct_pipeline.evaluation.run_facts import RunFacts

SECTIONS = {
    "summary": "Summary",
    "methods": "Methods",
    "discrimination": "Discrimination",
    "calibration": "Calibration",
    "decisions": "Decision curves",
    "comparison": "Other models",
    "subgroups": "Subgroups",
    "failures": "Failure cases",
    "limitations": "Limitations",
    "references": "References",
}


def render_assessment(assessment: Assessment, names: Mapping[str, str], facts: RunFacts) -> str:
    """The page as one HTML document; every text from data is escaped.

    Args:
        assessment: tables and figures of the assessed predictions, ours or another system's.
        names: task -> display name, in the order of the tables.
        facts: when and with what the page is made.

    Raises:
        PackageError: the facts of the assessment do not say how it was made.
    """
    contents = assessment_contents(assessment, names)
    contents |= page_frame(f"Assessment of {assessment.settings.model}", SECTIONS, facts, OF_ASSESSMENT)
    contents |= {"description": "", "limitations": assessment_limitations(assessment)}
    return rendered("assessment.html.j2", contents)
