import numpy as np

from hyperct_pipeline.labels.intervals import Intervals, Reason, agree, hull, texts


def exactly(*rows: tuple[float, float]) -> Intervals:
    return Intervals.from_rows([(low, high, False, False, Reason.MEASURED) for low, high in rows])


def test_agreement_cuts_joins_or_refuses() -> None:
    first = exactly((55, 60), (50, 50), (45, 45))
    second = exactly((58, 70), (50.1, 50.1), (60, 60))
    both = agree(first, second, 0.1, Reason.ALIAS_CONFLICT)
    assert both.low.tolist() == [58, 50, -np.inf]
    assert both.high.tolist() == [60, 50.1, np.inf]
    assert both.reason.tolist() == [Reason.MEASURED, Reason.MEASURED, Reason.ALIAS_CONFLICT]


def test_agreement_takes_the_only_value_and_else_the_more_telling_reason() -> None:
    unmapped, missing = Intervals.unknown(1, Reason.UNMAPPED_TEXT), Intervals.unknown(1, Reason.NOT_MEASURED)
    assert agree(unmapped, exactly((5, 5)), 0.1, Reason.ALIAS_CONFLICT).low.tolist() == [5]
    assert agree(missing, unmapped, 0.1, Reason.ALIAS_CONFLICT).reason.tolist() == [Reason.UNMAPPED_TEXT]


def test_touching_at_an_excluded_bound_shares_nothing() -> None:
    above = Intervals.from_rows([(60, np.inf, True, False, Reason.MEASURED)])
    joined = agree(above, exactly((55, 60)), 0.1, Reason.ALIAS_CONFLICT)
    assert (joined.low[0], joined.high[0]) == (55, np.inf)


def test_hull_holds_both() -> None:
    spanned = hull(exactly((1, 2)), exactly((4, 5)), Reason.SOURCE_CONFLICT)
    assert (spanned.low[0], spanned.high[0], spanned.reason[0]) == (1, 5, Reason.SOURCE_CONFLICT)


def test_evidence_is_written_from_numbers() -> None:
    rows = Intervals.from_rows(
        [
            (45, 45, False, False, Reason.MEASURED),
            (55, 60, False, False, Reason.MEASURED),
            (60, np.inf, True, False, Reason.MEASURED),
            (-np.inf, 35, False, False, Reason.MEASURED),
            (-np.inf, np.inf, False, False, Reason.UNMAPPED_TEXT),
        ]
    )
    assert texts(rows).tolist() == ["45", "55 to 60", "> 60", "<= 35", ""]
    assert texts(exactly((0, 1)), ("F", "M")).tolist() == ["F to M"]
