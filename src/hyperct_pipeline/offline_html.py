"""HTML pages that stand alone: text from data is escaped, pictures are embedded, nothing is fetched."""

import base64
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup


def environment(templates: Path) -> Environment:
    """Jinja2 over a folder of templates; a name that a template misses is an error, not a blank."""
    return Environment(
        loader=FileSystemLoader(templates),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def embedded(png: bytes) -> Markup:
    """A PNG as the source of an `img`."""
    return Markup("data:image/png;base64,") + base64.b64encode(png).decode()
