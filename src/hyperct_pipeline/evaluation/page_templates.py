"""The templates that the report and the page of an assessment share."""

from pathlib import Path
from typing import Any

from hyperct_pipeline.evaluation.report_pictures import picture_element
from hyperct_pipeline.offline_html import environment

TEMPLATES = Path(__file__).parent / "templates"


def rendered(template: str, contents: dict[str, Any]) -> str:
    """One HTML document that loads nothing from anywhere; every text from data is escaped."""
    pages = environment(TEMPLATES)
    pages.globals["picture_element"] = picture_element
    return pages.get_template(template).render(contents)
