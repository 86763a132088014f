"""Texts that stand for nothing known: counted for the report, and masked where they could name a person.

A cell of free text may hold a name, a date or a number of a patient. A word is shown if it is ordinary clinical
language, a number if it can be a measurement; anything else becomes "[...]", however many patients share the text:
a date that a spreadsheet made or the name of a referring doctor stands in many cells.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MASK = "[...]"
LONGEST = 120  # letters of a text that are shown
_NUMBER = r"\d+(?:[.,:/]\d+)*"
_TOKEN = re.compile(rf"[^\W\d_]+|{_NUMBER}")
_WORD = re.compile(r"[^\W\d_]+")
# up to three digits without a leading zero, up to two behind the point
_MEASURED = r"(?:0|[1-9]\d{0,2})(?:[.,]\d{1,2})?"
_ALONE = re.compile(rf"[+-]?{_MEASURED}\s*%?")
_JOINED = re.compile(r"-|–|\+/-|±|.*[^\W\d_].*")
_RAISED = re.compile(r"\b(c?m|mm)(?:\^?[23]|[²³])")
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
    masked = [_masked(str(text), vocabulary) for text in counted["text"]]
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
    text = _RAISED.sub(r"\1", text)
    words = _WORD.findall(text)
    # beside a word that may be a name, a number may be a birthday or a room
    numbers = vocabulary.issuperset(words) and _measurements_only(text, bool(words))

    def show(match: re.Match[str]) -> str:
        token = match[0]
        return token if (numbers if token[0].isdigit() else token in vocabulary) else MASK

    return _TOKEN.sub(show, text)[:LONGEST]


def _measurements_only(text: str, has_words: bool) -> bool:
    """Whether the numbers of a text can only be measurements: no date, no telephone number, no id."""
    if _ALONE.fullmatch(text.strip()):
        return True
    found = list(re.finditer(_NUMBER, text))
    if not all(re.fullmatch(_MEASURED, number[0]) for number in found) or re.search(r"[^\W\d_]\d|\+\d", text):
        return False
    if len(found) > 1 and not (has_words or "%" in text):
        return False
    if len(found) > 2:
        return False
    for first, second in pairwise(found):
        joint = text[first.end() : second.start()].strip(" %")
        falling = joint in ("-", "–") and _value(first[0]) >= _value(second[0])  # a date, not a range
        if falling or not _JOINED.fullmatch(joint):
            return False
    return True


def _value(number: str) -> float:
    return float(number.replace(",", "."))
