"""Quantities computed from others where they were not measured themselves."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from hyperct_pipeline.labels.intervals import Intervals, Reason
from hyperct_pipeline.labels.quantities import Quantity
from hyperct_pipeline.labels.tasks import Ratio, TaskCatalogue


def with_derived(values: Mapping[str, Intervals], catalogue: TaskCatalogue) -> dict[str, Intervals]:
    """The values plus every quantity of `derivations` whose parts are there; what was measured stands."""
    complete = dict(values)
    for name, ratio in catalogue.derivations.items():
        if ratio.numerator in values and ratio.denominator in values:
            derived = _ratio(values[ratio.numerator], values[ratio.denominator], ratio, catalogue.quantities[name])
            own = values.get(name, Intervals.unknown(len(derived), Reason.NOT_AVAILABLE_IN_SOURCE))
            silent = np.isin(own.reason, (Reason.NOT_MEASURED, Reason.NOT_AVAILABLE_IN_SOURCE))
            complete[name] = derived.where(silent, own)
    return complete


def _ratio(above: Intervals, below: Intervals, ratio: Ratio, quantity: Quantity) -> Intervals:
    # plausible values are positive, so the extremes of the ratio are at the ends; an end that is missing stays missing
    factor = ratio.factor
    lowest = np.where(np.isfinite(above.low) & np.isfinite(below.high), above.low / below.high * factor, -np.inf)
    divisor = np.where(below.low > 0, below.low, np.nan)
    highest = np.where(np.isfinite(above.high) & (divisor > 0), above.high / divisor * factor, np.inf)
    low, high = quantity.rounded(lowest), quantity.rounded(highest)
    # a bound that rounding moved can be reached by a rounded value
    low_open = (above.low_open | below.high_open) & np.isclose(low, lowest, rtol=1e-9, atol=0)
    high_open = (above.high_open | below.low_open) & np.isclose(high, highest, rtol=1e-9, atol=0)
    n = len(low)
    result = Intervals(low, high, low_open, high_open, np.full(n, Reason.DERIVED, np.int8))
    assert quantity.valid is not None
    outside = [np.isfinite(end) & ((end < quantity.valid[0]) | (end > quantity.valid[1])) for end in (low, high)]
    unknown = Intervals.unknown(n, Reason.NOT_MEASURED)
    unknown = replace(unknown, reason=np.maximum(above.reason, below.reason))
    both = above.has_value & below.has_value
    useful = result.because(~result.has_value, Reason.RANGE_STRADDLES)
    return useful.because(outside[0] | outside[1], Reason.OUT_OF_RANGE).where(both, unknown)
