"""Words and names that tell series apart: body part, contrast, scout, sharp kernel.

The lists stand in the parameters; here is only how they are compared. All images of a series count, not its first.
"""

import re
from collections.abc import Iterable, Sequence

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from hyperct_pipeline.dicom.header import Header

_TOKEN = re.compile(r"[^\W_]+|[+]")
_BODY_TEXTS = ("BodyPartExamined", "SeriesDescription", "ProtocolName", "StudyDescription")
_CONTRAST_TEXTS = ("SeriesDescription", "ProtocolName", "StudyDescription")


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Vocabulary:
    """Words that tell series apart. Text is compared in lower case with only letters, digits and + kept.

    Raises:
        ValueError: a pattern is no regular expression.
    """

    derived_image_types: tuple[str, ...]  # ImageType values of processed images
    localizer_words: tuple[str, ...]
    chest_words: tuple[str, ...]
    other_body_words: tuple[str, ...]
    contrast_agents: tuple[str, ...]  # product and substance names: wherever one stands, contrast was given
    no_agent_values: tuple[str, ...]  # whole values of ContrastBolusAgent that mean none
    both_phases_words: tuple[str, ...]  # a study with and without contrast: the series may be either
    contrast_words: tuple[str, ...]
    no_contrast_words: tuple[str, ...]  # looked for before contrast_words, and taken out
    lung_kernel_patterns: tuple[str, ...]  # regular expressions for the whole kernel name

    def __post_init__(self) -> None:
        refuse_bad_patterns("lung_kernel_patterns", self.lung_kernel_patterns)


def refuse_bad_patterns(name: str, patterns: Iterable[str]) -> None:
    """Raises:
    ValueError: naming the parameter and the first pattern that cannot be compiled.
    """
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"{name}: {pattern!r} is no regular expression: {error}") from None


def contains_word(text: str, words: Sequence[str]) -> bool:
    """Whether one of the words or phrases occurs in a text, as whole words.

    Phrases in scripts without blanks between words are looked for anywhere.
    """
    plain = _plain(text)
    folded = text.casefold()
    return any(_plain(word) in plain if word.isascii() else word.casefold() in folded for word in words)


def is_localizer(headers: Iterable[Header], vocabulary: Vocabulary) -> bool:
    """Whether an image is a scout, by its type or description."""
    headers = tuple(headers)
    words = vocabulary.localizer_words
    described = any(contains_word(text, words) for (text,) in _distinct(headers, ("SeriesDescription",)))
    return described or any(header.is_localizer for header in headers)


def is_other_body_part(headers: Iterable[Header], vocabulary: Vocabulary) -> bool:
    """Whether the first text that names a body part names another one than the chest."""
    return any(_names_other_body_part(texts, vocabulary) for texts in _distinct(headers, _BODY_TEXTS))


def has_contrast(headers: Iterable[Header], vocabulary: Vocabulary) -> bool:
    """Whether contrast was given: by its own tag, else by the first description that speaks of it."""
    return any(
        _agent_is_named(agent, vocabulary)
        or any(contains_word(text, vocabulary.contrast_agents) for text in texts)
        or (not agent and _is_described_enhanced(texts, vocabulary))
        for agent, *texts in _distinct(headers, ("ContrastBolusAgent", *_CONTRAST_TEXTS))
    )


def has_lung_kernel(header: Header, vocabulary: Vocabulary) -> bool:
    """Whether the kernel is sharp, made for the lung or for bone."""
    name = header["ConvolutionKernel"].split("\\")[0].strip()
    return any(re.fullmatch(pattern, name, re.IGNORECASE) for pattern in vocabulary.lung_kernel_patterns)


def _distinct(headers: Iterable[Header], keywords: Sequence[str]) -> list[tuple[str, ...]]:
    """Values of some tags over all images, each combination once."""
    return list(dict.fromkeys(tuple(header[keyword] for keyword in keywords) for header in headers))


def _names_other_body_part(texts: Sequence[str], vocabulary: Vocabulary) -> bool:
    for text in texts:
        if contains_word(text, vocabulary.chest_words):
            return False
        if contains_word(text, vocabulary.other_body_words):
            return True
    return False


def _agent_is_named(value: str, vocabulary: Vocabulary) -> bool:
    """Any value but those that mean none: 'OMNIPAQUE 350, NO REACTION' names an agent, 'N/A' does not."""
    return bool(_plain(value).strip()) and _plain(value) not in map(_plain, vocabulary.no_agent_values)


def _is_described_enhanced(texts: Sequence[str], vocabulary: Vocabulary) -> bool:
    for text in texts:
        if contains_word(text, vocabulary.both_phases_words):
            return True
        plain = _plain(text)
        for phrase in vocabulary.no_contrast_words:
            plain = plain.replace(_plain(phrase), " - ")
        if contains_word(plain.replace("-", " "), vocabulary.contrast_words):
            return True
        if "-" in plain or _has_unspaced(text, vocabulary.no_contrast_words):
            return False
    return False


def _has_unspaced(text: str, words: Sequence[str]) -> bool:
    """Whether a word of a script without blanks between words occurs."""
    return contains_word(text, [word for word in words if not word.isascii()])


def _plain(text: str) -> str:
    return " ".join(["", *_TOKEN.findall(text.casefold()), ""])
