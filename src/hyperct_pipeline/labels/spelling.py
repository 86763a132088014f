"""Near spellings: what somebody who mistyped a name most likely meant."""

import difflib
import re
from collections.abc import Iterable


def nearest(name: str, known: tuple[str, ...]) -> str:
    """The hint "; nearest known: 'x'", or the list of what is known where nothing is near."""
    spelled = {k.lower(): k for k in known}
    close = difflib.get_close_matches(name.lower(), spelled, n=1, cutoff=0.6)
    return f"; nearest known: '{spelled[close[0]]}'" if close else f"; known: {', '.join(known) or 'none'}"


def nearest_column(name: str, columns: Iterable[str], similarity: float) -> str | None:
    """The column whose letters and digits come nearest to the name; None where none is that similar (0 to 1)."""
    spelled = {letters(column): column for column in columns}
    close = difflib.get_close_matches(letters(name), spelled, 1, similarity)
    return spelled[close[0]] if close else None


def letters(text: str) -> str:
    """Lower case, everything but letters and digits as one underscore: 'Lung nodule' -> lung_nodule."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
