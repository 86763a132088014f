"""`model.mode: reference` is not the whole published training: what stands against the rest is said, key by key."""

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from hyperct_pipeline.training.published_setting import departures

logger = logging.getLogger(__name__)


def warn_of_departures(groups: Mapping[str, object], name_of: Callable[[tuple[str, ...]], str]) -> None:
    """One warning per key, with the file that sets it.

    Args:
        groups: the checked configuration of each group.
        name_of: the place that sets a key, as `ParameterPlaces.name_of` gives it.
    """
    for found in departures(groups):
        logger.warning(
            "%s: %s.%s is %s, the published setting has %s; model.mode: reference does not set it (docs/model.md)",
            name_of((found.group, found.key)), found.group, found.key, _yaml(found.value), _yaml(found.published),
        )  # fmt: skip


def _yaml(value: Any) -> str:
    """As the value is written in a parameter file."""
    return value if isinstance(value, str) else json.dumps(value)
