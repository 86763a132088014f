"""Figures inside the report: SVG as elements of the page, PNG as data."""

import base64
import re

from markupsafe import Markup

_HEAD = re.compile(rb"^.*?(?=<svg\b)", re.DOTALL)
_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
_STYLE = re.compile(r"<style[^>]*>.*?</style>", re.DOTALL)


def picture_element(content: bytes, name: str, description: str) -> Markup:
    """One figure as HTML.

    Several SVGs share the page, so the ids of each get its name in front; sizes are left to the page.

    Args:
        content: bytes of an SVG or a PNG, as our own figures are written.
        name: unique on the page, of letters, digits and `_`.
        description: for those who cannot see it.
    """
    if b"<svg" not in content[:1000]:
        source = "data:image/png;base64," + base64.b64encode(content).decode()
        return Markup('<img src="{}" alt="{}">').format(Markup(source), description)
    text = _HEAD.sub(b"", content, count=1).decode()
    text = _STYLE.sub("", _METADATA.sub("", text))
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", text)
    opening, rest = text.split(">", 1)
    opening = re.sub(r' (?:width|height)="[^"]*"', "", opening)
    label = Markup(' role="img" aria-label="{}" stroke-linejoin="round">').format(description)
    return Markup(opening) + label + Markup(rest)
