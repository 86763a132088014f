"""Which names of columns a message may show: a file without a header line has cells of patients in their place."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from hyperct_pipeline.labels.spelling import nearest_column
from hyperct_pipeline.labels.unmapped_words import CLINICAL

# A column that nobody claims and that looks this much like a missing one was most likely renamed.
RENAMED_SIMILARITY = 0.8
# Ordinary words of column names, none of which is a name of a person.
_WORDS = CLINICAL | frozenset((Path(__file__).parent / "column_words.txt").read_text(encoding="utf-8").split())
_TOKEN = re.compile(r"[A-Z]?[^\W\dA-Z_]+|[A-Z]+(?![a-z])")
_SECOND = re.compile(r"\.\d$")  # what readers add to a doubled name


def may_be_shown(column: str, declared: Iterable[str] = ()) -> bool:
    """Whether the name is made of ordinary words, or is nearly one that a source declares, with no other digits."""
    bare = _SECOND.sub("", column)
    if not any(sign.isdigit() for sign in bare):
        tokens = {token.lower() for token in _TOKEN.findall(bare)}
        if tokens and tokens <= _WORDS:
            return True
    return any(_digits(d) == _digits(bare) and nearest_column(d, [bare], RENAMED_SIMILARITY) for d in declared)


def shown_column(column: str, columns: Sequence[str], declared: Iterable[str] = ()) -> str:
    """The name in quotation marks where it may be shown, otherwise its place in the table: "column 3"."""
    if may_be_shown(column, declared):
        return f"'{column}'"
    return f"column {list(columns).index(column) + 1}"


def doubled_columns(doubled: Iterable[str], columns: Sequence[str]) -> str:
    """Names that stand twice, as a message may show them."""
    return ", ".join(shown_column(name, columns) for name in sorted(doubled))


def _digits(text: str) -> str:
    return "".join(sign for sign in text if sign.isdigit())
