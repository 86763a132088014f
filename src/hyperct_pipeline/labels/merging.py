"""One label per study and task out of what several sources say."""

from collections.abc import Mapping, Sequence

import numpy as np

from hyperct_pipeline.labels.intervals import Reason
from hyperct_pipeline.labels.rules import Truth


def merged_truths(precedences: Sequence[int], truths: Sequence[Mapping[str, Truth]]) -> dict[str, Truth]:
    """One truth per task: of the highest precedence that knows; equals that contradict are a source conflict.

    Args:
        precedences: of the sources.
        truths: of the same sources, task -> truth, n studies each.
    """
    merged = {}
    for task in truths[0]:
        parts = [truth[task] for truth in truths]
        n = len(parts[0].true)
        true, false, conflict = (np.zeros(n, bool) for _ in range(3))
        reason = np.max([part.reason for part in parts], axis=0)
        known_reason = np.full(n, Reason.EXCLUDED, np.int8)
        for precedence in sorted(set(precedences), reverse=True):
            same = [part for part, p in zip(parts, precedences, strict=True) if p == precedence]
            is_true, is_false = (np.any([getattr(p, side) for p in same], axis=0) for side in ("true", "false"))
            open_ = ~(true | false | conflict)
            conflict |= open_ & is_true & is_false
            true |= open_ & is_true & ~is_false
            false |= open_ & is_false & ~is_true
            decided = open_ & (true | false)
            own = np.min([np.where(p.known, p.reason, np.int8(Reason.EXCLUDED)) for p in same], axis=0)
            known_reason = np.where(decided, own, known_reason)
        # an unknown label has the most telling reason of all sources
        unknown_reason = np.where(conflict, Reason.SOURCE_CONFLICT, reason)
        merged[task] = Truth(true, false, np.where(true | false, known_reason, unknown_reason).astype(np.int8))
    return merged
