import math

import pandas as pd
import pytest

from hyperct_pipeline.labels.intervals import Reason
from hyperct_pipeline.labels.measurements import read_levels, read_numbers
from hyperct_pipeline.labels.tasks import TaskCatalogue

INF = math.inf


def read_one(catalogue: TaskCatalogue, quantity: str, text: str, unit: str | None = None, comma: bool = False):
    entry = catalogue.quantities[quantity]
    read = read_numbers(pd.Series([text]), entry, unit or str(entry.unit), ["", "na", "999", "-1"], comma)
    return read.low[0], read.high[0], bool(read.low_open[0]), bool(read.high_open[0]), Reason(read.reason[0])


@pytest.mark.parametrize(
    ("quantity", "text", "low", "high"),
    [
        ("lvef", "55", 55, 55),
        ("lvef", "55.0", 55, 55),
        ("lvef", "55 %", 55, 55),
        ("lvef", "55-60%", 55, 60),
        ("lvef", "between 40 and 45 %", 40, 45),
        ("lvef", "30–35%", 30, 35),
        ("lvef", "60-55", 55, 60),
        ("lvef", "55 to 60", 55, 60),
        ("lvef", "55%-60%", 55, 60),
        ("lvef", "~40", 38, 42),
        ("lvef", "approx. 40-50", 38, 52.5),
        ("lvef", "55 +/- 5", 50, 60),
        ("lvef", "55±5", 50, 60),
        ("lvef", "mildly reduced (45%)", 45, 45),
        ("lvef", "mildly reduced (45-50%)", 45, 50),
        ("lvef", "45% (visual)", 45, 45),
        ("lvidd", "62 mm", 6.2, 6.2),
        ("lvidd", "4.5 - 5.2 cm", 4.5, 5.2),
        ("tr_vmax", "350 cm/s", 3.5, 3.5),
        ("tr_vmax", "3.5 m/s", 3.5, 3.5),
        ("la_volume_index", "38 ml/m²", 38, 38),
        ("pasp", "35 mm Hg", 35, 35),
    ],
)
def test_text_becomes_the_interval_it_says(
    catalogue: TaskCatalogue, quantity: str, text: str, low: float, high: float
) -> None:
    assert read_one(catalogue, quantity, text) == (low, high, False, False, Reason.MEASURED)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (">60", (60, INF, True, False)),
        (">= 60 %", (60, INF, False, False)),
        ("at least 60", (60, INF, False, False)),
        ("<35", (-INF, 35, False, True)),
        ("≤ 35", (-INF, 35, False, False)),
    ],
)
def test_one_sided_texts_leave_the_other_side_open(catalogue: TaskCatalogue, text: str, expected: tuple) -> None:
    assert read_one(catalogue, "lvef", text) == (*expected, Reason.MEASURED)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", Reason.NOT_MEASURED),
        ("NA", Reason.NOT_MEASURED),
        ("999", Reason.NOT_MEASURED),
        ("999.0", Reason.NOT_MEASURED),
        ("5O", Reason.UNMAPPED_TEXT),
        ("normal", Reason.UNMAPPED_TEXT),
        ("50 mm", Reason.UNMAPPED_TEXT),
        ("mildly reduced (grade 2)", Reason.UNMAPPED_TEXT),
        ("45,5", Reason.UNMAPPED_TEXT),
        ("#REF!", Reason.UNMAPPED_TEXT),
        ("0.45", Reason.OUT_OF_RANGE),
        ("-45", Reason.OUT_OF_RANGE),
        ("1.2e12", Reason.OUT_OF_RANGE),
        ("55-600", Reason.OUT_OF_RANGE),
    ],
)
def test_what_cannot_be_used_is_unknown_with_its_reason(catalogue: TaskCatalogue, text: str, reason: Reason) -> None:
    assert read_one(catalogue, "lvef", text) == (-INF, INF, False, False, reason)


@pytest.mark.parametrize(
    ("quantity", "text", "value"),
    [
        ("lvef", "EF=45%", 45), ("lvef", "LVEF: 45%", 45), ("lvef", "45%.", 45), ("lvef", "45% .", 45),
        ("lvef", "mildly reduced 45%", 45), ("lvef", "mild to moderate, 40%", 40), ("lvef", "not reduced (55%)", 55),
        ("lvef", "45% (visual estimate)", 45), ("lvef", "EF mildly reduced (45%)", 45), ("lvidd", "62 mm.", 6.2),
        ("lvidd", "6.2 cm (62 mm)", 6.2), ("tr_vmax", "mild TR (2.5 m/s)", 2.5), ("tr_vmax", "350 cm/s (peak)", 3.5),
        ("pasp", "RVSP: 40 mmHg", 40), ("e_a_ratio", "E/A = 0.9", 0.9), ("lvef", "LVEF 45%", 45),
        ("lvef", "EF is 45%", 45), ("lvef", "LVEF of 45 %", 45), ("lvef", "visually estimated at 45%", 45),
        ("lvef", "LVEF=45% by biplane", 45), ("lvef", "45% by Simpson", 45),
    ],
)  # fmt: skip
def test_remarks_that_say_nothing_else_do_not_hide_the_number(
    catalogue: TaskCatalogue, quantity: str, text: str, value: float
) -> None:
    assert read_one(catalogue, quantity, text) == (value, value, False, False, Reason.MEASURED)


@pytest.mark.parametrize(
    ("quantity", "text"),
    [
        ("lvef", "see note (5)"), ("lvef", "see comment (20)"), ("lvef", "not measured (40)"),
        ("lvef", "prior study (30%)"), ("lvef", "improved from (30%)"), ("lvef", "EF not seen, see report (12)"),
        ("lvef", "cannot assess (45%)"), ("lvef", "established (45%)"), ("lvef", "45% (prior)"), ("lvef", "not (45%)"),
        ("lvef", "reduced to (45%)"), ("lvef", "prior EF=45%"), ("lvef", "PASP: 45"), ("lvef", "no longer 45%"),
        ("lvef", "EF 45% (2019)"), ("pasp", "no TR (40)"), ("e_a_ratio", "fused (2)"), ("tr_vmax", "see note (4)"),
        ("lvef", "45% by report"), ("lvef", "EF at rest 45%"), ("lvef", "EF was 45% in 2019"), ("lvef", "of 45%"),
        ("lvef", "between 40 and normal"), ("lvidd", "6.2 cm (52 mm)"), ("lvidd", "6.2 (6.2)"), ("lvef", "45..%"),
    ],
)  # fmt: skip
def test_a_number_beside_other_words_is_no_measurement(catalogue: TaskCatalogue, quantity: str, text: str) -> None:
    assert read_one(catalogue, quantity, text) == (-INF, INF, False, False, Reason.UNMAPPED_TEXT)


def test_conversion_leaves_no_float_noise_above_a_threshold(catalogue: TaskCatalogue) -> None:
    assert read_one(catalogue, "lvidd", "53", "mm")[0] == 5.3
    assert read_one(catalogue, "tr_vmax", "280", "cm/s")[0] == 2.8
    assert read_one(catalogue, "lvef", "0.45", "1")[0] == 45
    assert read_one(catalogue, "lvef", "45%", "1")[0] == 45


def test_decimal_commas_only_where_the_source_says_so(catalogue: TaskCatalogue) -> None:
    assert read_one(catalogue, "lvidd", "5,3", comma=True)[0] == 5.3


def test_words_become_ranges_of_levels(catalogue: TaskCatalogue) -> None:
    words = {"wnl": "normal", "depressed": ("mildly_reduced", "severely_reduced"), "not seen": None}
    cells = pd.Series(["WNL", "depressed", "not seen", "see comment", ""])
    read = read_levels(cells, catalogue.quantities["rv_function"], words, [""])
    assert read.low.tolist() == [1, 3, -INF, -INF, -INF]
    assert read.high.tolist() == [1, 5, INF, INF, INF]
    assert [Reason(reason) for reason in read.reason] == [
        Reason.MEASURED, Reason.MEASURED, Reason.NOT_MEASURED, Reason.UNMAPPED_TEXT, Reason.NOT_MEASURED,
    ]  # fmt: skip


def test_codes_with_gaps_are_read_as_whole_numbers(catalogue: TaskCatalogue) -> None:
    read = read_levels(pd.Series(["1.0", "2"]), catalogue.quantities["sex"], {"1": "M", "2": "F"}, [""])
    assert read.low.tolist() == [1, 0]
