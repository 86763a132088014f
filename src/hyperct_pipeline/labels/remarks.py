"""Words beside a number that do not change what it says: "mildly reduced (45%)", "LVEF: 45%", "45% (visual)", "62 mm.".

Only words that the quantity lists pass. With any other word the number may be something else ("see note (5)", "prior
study (30%)"), so the cell stays unread.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

# They join grades ("mild to moderate") and say nothing by themselves.
_JOINING = frozenset({"to", "and", "or"})
# These may stand right before the number, too ("estimated at 45%"); "reduced to 45%" tells of a change.
_LINKING = frozenset({"at", "by", "is", "of", "was"})
_NEGATION = "not"
_FULL_STOP = re.compile(r"(?<=[a-z%])\s*\.$")
_NAMED = re.compile(
    r"(?P<name>[a-z][a-z0-9/' -]*?)(?:\s*[:=]\s*| (?:is|of|was) | (?=[<>~]|\d|between |about ))(?P<rest>\S.*)"
)
_BY_METHOD = re.compile(r"(?P<rest>[^()]*\d[^()]*?) by (?P<phrase>[a-z][a-z ',.-]*)")
_PHRASE = r"[a-z][a-z ,;/'.-]*?"
_BEFORE_BRACKET = re.compile(rf"(?P<phrase>{_PHRASE})\s*\((?P<rest>[^()]*\d[^()]*)\)")
_IN_BRACKET = re.compile(rf"(?P<rest>[^()]*\d[^()]*?)\s*\((?P<phrase>{_PHRASE})\s*\)")
_BEFORE_NUMBER = re.compile(rf"(?P<phrase>{_PHRASE})[ ,;:]\s*(?P<rest>(?:[<>=~.]|\d).*)")
_WORD = re.compile(r"[a-z]+")


@dataclass(frozen=True)
class Remarks:
    """What may stand beside the numbers of one quantity, all lower case."""

    abbreviations: Collection[str] = ()  # of the quantity itself: ef, lvef
    grade_words: Collection[str] = ()
    method_words: Collection[str] = ()

    def removed(self, text: str) -> str:
        """The text without remarks; as it is where it holds anything else.

        Args:
            text: lower case, with one kind of dash and blank.
        """
        text = _FULL_STOP.sub("", text)
        if (named := _NAMED.fullmatch(text)) and named["name"] in self.abbreviations:
            text = named["rest"]
        for form in (_BEFORE_BRACKET, _IN_BRACKET, _BY_METHOD, _BEFORE_NUMBER):
            if (match := form.fullmatch(text)) and self._harmless(match["phrase"]):
                return match["rest"].strip()
        return text

    def _harmless(self, phrase: str) -> bool:
        words = _WORD.findall(phrase)
        telling = {*self.grade_words, *self.method_words}
        if not words or words[-1] in _JOINING or not telling.intersection(words):
            return False
        known = telling.union(_JOINING, _LINKING, _WORD.findall(" ".join(self.abbreviations)))
        # "not reduced" is a grade, "not measured" is none
        return all(
            word in known or (word == _NEGATION and after in self.grade_words)
            for word, after in zip(words, [*words[1:], ""], strict=True)
        )
