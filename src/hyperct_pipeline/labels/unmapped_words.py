"""Texts that stand for nothing known: counted for the report, and masked where they could name a person.

A cell of free text may hold a name, a date or a number of a patient. A word is shown if it is ordinary clinical
language or if several patients share the whole text; anything else becomes "[...]".
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

# A text that this many patients share is taken for a habit of writing, not for a person (small cells are suppressed).
SHARED_BY_PATIENTS = 5
MASK = "[...]"
LONGEST_NUMBER = 3  # digits; longer ones may be ids, dates or phone numbers
_TOKEN = re.compile(r"[^\W\d_]+|\d+")
# Ordinary words of echo and CT reports, none of which is a name.
CLINICAL = frozenset((Path(__file__).parent / "clinical_words.txt").read_text(encoding="utf-8").split())


def unmapped_words(
    item: str, cells: "pd.Series[str]", unmapped: NDArray[np.bool_], patients: NDArray[np.object_], known: Iterable[str]
) -> pd.DataFrame:
    """One row per distinct text: item, text (masked), count, patients, readable (nothing was masked).

    Args:
        item: quantity or finding.
        cells: texts.
        unmapped: shape (n,), which of them stand for nothing known.
        patients: shape (n,), anything that tells patients apart.
        known: words of the source's own vocabularies.
    """
    found = pd.DataFrame({"text": cells[unmapped].str.lower().to_numpy(object), "who": patients[unmapped]})
    if found.empty:
        return all_words([])
    counted = found.groupby("text").agg(count=("who", "size"), patients=("who", "nunique")).reset_index()
    vocabulary = CLINICAL | {token for word in known for token in _TOKEN.findall(word.lower())}
    shared = counted["patients"] >= SHARED_BY_PATIENTS
    masked = [str(t) if s else _masked(str(t), vocabulary) for t, s in zip(counted["text"], shared, strict=True)]
    readable = [MASK not in text for text in masked]
    table = counted.assign(item=item, text=masked, readable=readable)
    grouped = table.groupby(["item", "text", "readable"], as_index=False)[["count", "patients"]].sum()
    return grouped[["item", "text", "count", "patients", "readable"]]


def all_words(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Several tables of words as one, columns item, text, count, patients, readable."""
    kinds = {"item": "str", "text": "str", "count": "int64", "patients": "int64", "readable": "bool"}
    filled = [table for table in tables if len(table)]
    if not filled:
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in kinds.items()})
    return pd.concat(filled, ignore_index=True).astype(kinds)


def yaml_stub(words: pd.DataFrame, levels: Mapping[str, tuple[str, ...]]) -> str:
    """Lines to paste into the source's `words`, one per readable text of a quantity with levels.

    Args:
        words: rows of one source, as `unmapped_words` gives them.
        levels: quantity -> its levels; other items are left out, because nothing can be mapped there.
    """
    lines: list[str] = []
    for item, part in words[words["readable"].astype(bool)].groupby("item"):
        if str(item) not in levels:
            continue
        lines += [f"{item}:", f"  words:  # one of {', '.join(levels[str(item)])}, [from, to], or null = not measured"]
        ordered = part.sort_values(["count", "text"], ascending=[False, True])
        for text, count in zip(ordered["text"], ordered["count"], strict=True):
            quoted = str(text).replace("\\", "\\\\").replace('"', '\\"')
            lines.append(f'    "{quoted}": null  # {count} times')
    return "\n".join(lines)


def _masked(text: str, vocabulary: frozenset[str] | set[str]) -> str:
    def show(match: re.Match[str]) -> str:
        token = match[0]
        allowed = len(token) <= LONGEST_NUMBER if token.isdigit() else token in vocabulary
        return token if allowed else MASK

    # two numbers joined by a sign may be a date
    hidden = re.sub(r"\d+(?:[./-]\d+){2,}", MASK, text)
    return MASK.join(_TOKEN.sub(show, part) for part in hidden.split(MASK))[:120]
