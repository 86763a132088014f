"""The templates that the report and the page of an assessment share."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hyperct_pipeline.evaluation.report_pictures import picture_element
from hyperct_pipeline.evaluation.report_references import citations
from hyperct_pipeline.evaluation.run_facts import RunFacts
from hyperct_pipeline.offline_html import environment

TEMPLATES = Path(__file__).parent / "templates"


def page_frame(
    title: str, sections: Mapping[str, str], facts: RunFacts, references: Mapping[str, str]
) -> dict[str, Any]:
    """What every page says of itself, by the name the templates use.

    Args:
        title: of the page.
        sections: id of each heading -> its text, in order.
        facts: when and with what the page is made.
        references: the sources that it cites, by name, in order.
    """
    cite = citations(references)
    return {"title": title, "sections": sections, "facts": facts, "references": references, "cite": cite}


def rendered(template: str, contents: dict[str, Any]) -> str:
    """One HTML document that loads nothing from anywhere; every text from data is escaped."""
    pages = environment(TEMPLATES)
    pages.globals["picture_element"] = picture_element
    return pages.get_template(template).render(contents)
