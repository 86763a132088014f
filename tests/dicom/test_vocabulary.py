from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from hyperct_pipeline.dicom.header import Header, read_header
from hyperct_pipeline.dicom.vocabulary import contains_word, has_contrast, has_lung_kernel, is_other_body_part


@pytest.fixture
def header_with(write_series):
    def make(**tags) -> Header:
        (path,) = write_series(np.zeros((1, 4, 6), dtype=np.int16), tags={"SpecificCharacterSet": "ISO_IR 192"} | tags)
        header = read_header(str(path))
        assert isinstance(header, Header)
        return header

    return make


def test_words_are_whole_words() -> None:
    assert contains_word("CT_CHEST-ROUTINE", ["chest"])
    assert not contains_word("CHESTNUT", ["chest"])
    assert contains_word("Thorax + C", ["+c"]) and contains_word("w/o contrast", ["w o contrast"])
    assert contains_word("胸部CT", ["胸"])


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"ContrastBolusAgent": "OMNIPAQUE 350"}, True),
        ({"ContrastBolusAgent": "NONE"}, False),
        ({"ContrastBolusAgent": "OMNIPAQUE 350, NO REACTION"}, True),
        ({"ContrastBolusAgent": "ISOVUE W/O SALINE"}, True),
        ({"ContrastBolusAgent": "N/A"}, False),
        ({"ContrastBolusAgent": "0"}, False),
        ({"ContrastBolusAgent": "No IV Contrast"}, False),
        ({"ContrastBolusAgent": "-"}, False),
        ({"ContrastBolusAgent": "APPLIED"}, True),
        ({"ContrastBolusAgent": "NONE", "SeriesDescription": "CHEST OMNIPAQUE"}, True),
        ({"SeriesDescription": "CHEST NO DELAY", "StudyDescription": "CT CHEST WITH CONTRAST"}, True),
        ({"StudyDescription": "CT CHEST W W/O CONTRAST"}, True),
        ({"StudyDescription": "CT CHEST WITH AND WITHOUT CONTRAST"}, True),
        ({"StudyDescription": "CT CHEST W/O"}, False),
        ({"SeriesDescription": "CHEST +C"}, True),
        ({"SeriesDescription": "Thorax mit KM"}, True),
        ({"SeriesDescription": "Thorax ohne KM"}, False),
        ({"StudyDescription": "CT CHEST WITHOUT CONTRAST"}, False),
        ({"StudyDescription": "CT CHEST WITH CONTRAST"}, True),
        ({"StudyDescription": "CT CHEST W WO CONTRAST", "SeriesDescription": "native"}, False),
        ({"SeriesDescription": "THORAX SANS INJECTION"}, False),
        ({"SeriesDescription": "CT ANGIO THORAX"}, True),
        ({"SeriesDescription": "平扫"}, False),
        ({"SeriesDescription": "造影"}, True),
        ({"SeriesDescription": "CHEST 1.0 B30f"}, False),
    ],
)
def test_contrast(header_with, config, tags: dict[str, str], expected: bool) -> None:
    assert has_contrast([header_with(**tags)], config.vocabulary) is expected


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"BodyPartExamined": "HEAD"}, True),
        ({"BodyPartExamined": "CHEST_ABDOMEN"}, False),
        ({"BodyPartExamined": "", "ProtocolName": "Abdomen routine"}, True),
        ({"BodyPartExamined": "", "SeriesDescription": "THORAX", "StudyDescription": "ABDOMEN"}, False),
        ({"BodyPartExamined": "PARTIALBODY"}, False),
        ({"BodyPartExamined": ""}, False),
    ],
)
def test_body_part(header_with, config, tags: dict[str, str], expected: bool) -> None:
    assert is_other_body_part([header_with(**tags)], config.vocabulary) is expected


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [("LUNG", True), ("B70f", True), ("Br60d", True), ("FC51", True), ("STANDARD", False), ("B30f", False),
     ("FC08", True), ("FC03", False), (["B80f", "3"], True), ("", False)],
)  # fmt: skip
def test_lung_kernel(header_with, config, kernel: str | list[str], expected: bool) -> None:
    assert has_lung_kernel(header_with(ConvolutionKernel=kernel), config.vocabulary) is expected


def test_one_enhanced_image_makes_an_enhanced_series(header_with, config) -> None:
    plain, enhanced = header_with(), header_with(ContrastBolusAgent="IV")
    assert has_contrast([plain, enhanced], config.vocabulary)
    assert not has_contrast([plain, plain], config.vocabulary)


def test_pattern_that_is_none_is_refused_with_the_configuration(config) -> None:
    with pytest.raises(ValidationError, match=r"lung_kernel_patterns: .*is no regular expression"):
        replace(config.vocabulary, lung_kernel_patterns=("B[",))
    with pytest.raises(ValidationError, match="kernel_patterns"):
        replace(config.allowed_values, kernel_patterns=("(",))
