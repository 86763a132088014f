"""Words and names that tell series apart: body part, contrast, scout, sharp kernel.

The lists stand in the parameters; here is only how they are compared.
"""

import re
from collections.abc import Sequence

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from hyperct_pipeline.dicom.header import Header

_TOKEN = re.compile(r"[^\W_]+|[+]")


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Vocabulary:
    """Words that tell series apart. Text is compared in lower case with only letters, digits and + kept."""

    derived_image_types: tuple[str, ...]  # ImageType values of processed images
    localizer_words: tuple[str, ...]
    chest_words: tuple[str, ...]
    other_body_words: tuple[str, ...]
    contrast_words: tuple[str, ...]
    no_contrast_words: tuple[str, ...]  # looked for first, and taken out
    lung_kernel_patterns: tuple[str, ...]  # regular expressions for the whole kernel name


def contains_word(text: str, words: Sequence[str]) -> bool:
    """Whether one of the words or phrases occurs in a text, as whole words.

    Phrases in scripts without blanks between words are looked for anywhere.
    """
    plain = _plain(text)
    folded = text.casefold()
    return any(_plain(word) in plain if word.isascii() else word.casefold() in folded for word in words)


def is_other_body_part(header: Header, vocabulary: Vocabulary) -> bool:
    """Whether the first text that names a body part names another one than the chest."""
    for keyword in ("BodyPartExamined", "SeriesDescription", "ProtocolName", "StudyDescription"):
        if contains_word(header[keyword], vocabulary.chest_words):
            return False
        if contains_word(header[keyword], vocabulary.other_body_words):
            return True
    return False


def has_contrast(header: Header, vocabulary: Vocabulary) -> bool:
    """Whether contrast was given: by its own tag, else by the first description that speaks of it."""
    agent = header["ContrastBolusAgent"]
    if agent:
        return not contains_word(agent, vocabulary.no_contrast_words)
    for keyword in ("SeriesDescription", "ProtocolName", "StudyDescription"):
        text = _plain(header[keyword])
        for phrase in vocabulary.no_contrast_words:
            text = text.replace(_plain(phrase), " - ")
        if contains_word(text.replace("-", " "), vocabulary.contrast_words):
            return True
        if "-" in text:
            return False
    return False


def has_lung_kernel(header: Header, vocabulary: Vocabulary) -> bool:
    """Whether the kernel is sharp, made for the lung or for bone."""
    name = header["ConvolutionKernel"].split("\\")[0].strip()
    return any(re.fullmatch(pattern, name, re.IGNORECASE) for pattern in vocabulary.lung_kernel_patterns)


def _plain(text: str) -> str:
    return " ".join(["", *_TOKEN.findall(text.casefold()), ""])
